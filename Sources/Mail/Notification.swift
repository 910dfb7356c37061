// What a sender wants to hear of a message's fate (RFC 3461). Pure.

/// NOTIFY of RFC 3461 4.1: NEVER, or any of the others.
public struct Notify: OptionSet, Sendable {
    public let rawValue: UInt8
    public init(rawValue: UInt8) { self.rawValue = rawValue }
    public static let success = Notify(rawValue: 1)
    public static let failure = Notify(rawValue: 2)
    public static let delay = Notify(rawValue: 4)
    public static let never: Notify = []

    private static let words: [(String, Notify)] = [("SUCCESS", .success), ("FAILURE", .failure), ("DELAY", .delay)]

    /// Words joined by commas, in any case; nil: not of that form.
    public init?(_ text: [UInt8]) {
        let words = String(decoding: text.map(\.uppercased), as: UTF8.self).split(separator: ",", omittingEmptySubsequences: false)
        self = []
        if words == ["NEVER"] { return }
        for word in words {
            guard let known = Notify.words.first(where: { $0.0 == word }) else { return nil }
            insert(known.1)
        }
    }

    /// As the parameter is written.
    public var bytes: [UInt8] {
        isEmpty ? Array("NEVER".utf8) : Array(Notify.words.filter { contains($0.1) }.map(\.0).joined(separator: ",").utf8)
    }
}

/// RET of RFC 3461 4.3.
public enum Returned: String, Sendable {
    case full = "FULL"
    case headers = "HDRS"
}

/// xtext of RFC 3461 4: `+` and two capital hexadecimal digits for what is no printable ASCII, `+` or `=`.
public enum XText {
    public static func isValid(_ text: some Sequence<UInt8>) -> Bool { decode(Array(text)) != nil }

    public static func decode(_ text: [UInt8]) -> [UInt8]? {
        var result: [UInt8] = []
        var index = 0
        while index < text.count {
            let byte = text[index]
            if byte == 0x2b {
                guard index + 2 < text.count, let high = digit(text[index + 1]), let low = digit(text[index + 2]) else { return nil }
                result.append(high << 4 | low)
                index += 3
            } else {
                guard 0x21...0x7e ~= byte, byte != 0x3d else { return nil }
                result.append(byte)
                index += 1
            }
        }
        return result
    }

    public static func encode(_ bytes: [UInt8]) -> [UInt8] {
        let digits = Array("0123456789ABCDEF".utf8)
        return bytes.flatMap { 0x21...0x7e ~= $0 && $0 != 0x2b && $0 != 0x3d ? [$0] : [0x2b, digits[Int($0 >> 4)], digits[Int($0 & 15)]] }
    }

    private static func digit(_ byte: UInt8) -> UInt8? {
        switch byte {
        case 0x30...0x39: byte - 0x30
        case 0x41...0x46: byte - 0x37
        default: nil
        }
    }
}
