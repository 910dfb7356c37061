// JSON as `--json` prints it (RFC 8259): keys in the order given, so that documents can be compared by eye and by diff.

enum JSON {
    case string(String)
    case number(Int)
    case bool(Bool)
    case null
    case list([JSON])
    case object([(String, JSON)])

    static func text(_ value: String?) -> JSON { value.map { .string($0) } ?? .null }
    /// Mail is octets; what is no UTF-8 becomes U+FFFD.
    static func octets(_ value: some Sequence<UInt8>) -> JSON { .string(String(decoding: Array(value), as: UTF8.self)) }
    /// Seconds since 1970 as `2026-11-23T21:05:13Z`.
    static func time(_ seconds: Int?) -> JSON { .text(seconds.map(Words.time)) }

    var text: String {
        var result = ""
        append(to: &result, indent: "")
        return result
    }

    private func append(to result: inout String, indent: String) {
        let inner = indent + "  "
        switch self {
        case .string(let value): JSON.append(value, to: &result)
        case .number(let value): result += String(value)
        case .bool(let value): result += value ? "true" : "false"
        case .null: result += "null"
        case .list(let values):
            if values.isEmpty { result += "[]"; return }
            result += "["
            for (index, value) in values.enumerated() {
                result += (index == 0 ? "\n" : ",\n") + inner
                value.append(to: &result, indent: inner)
            }
            result += "\n\(indent)]"
        case .object(let members):
            if members.isEmpty { result += "{}"; return }
            result += "{"
            for (index, (key, value)) in members.enumerated() {
                result += (index == 0 ? "\n" : ",\n") + inner
                JSON.append(key, to: &result)
                result += ": "
                value.append(to: &result, indent: inner)
            }
            result += "\n\(indent)}"
        }
    }

    private static func append(_ value: String, to result: inout String) {
        result += "\""
        for scalar in value.unicodeScalars {
            switch scalar {
            case "\"": result += "\\\""
            case "\\": result += "\\\\"
            case "\n": result += "\\n"
            case "\t": result += "\\t"
            case "\r": result += "\\r"
            case "\u{0}"..."\u{1f}", "\u{7f}"..."\u{9f}", "\u{2028}", "\u{2029}":
                let digits = String(scalar.value, radix: 16)
                result += "\\u" + String(repeating: "0", count: 4 - digits.utf8.count) + digits
            default: result.unicodeScalars.append(scalar)
            }
        }
        result += "\""
    }
}
