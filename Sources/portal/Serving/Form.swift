// What a browser sends from a form, and what stands behind the question mark: application/x-www-form-urlencoded, read strictly. Pure.

struct Form: Sendable, Equatable {
    /// More fields than any form of ours has.
    private static let mostFields = 64

    private let fields: [(name: String, value: String)]

    init() { fields = [] }

    /// nil: it is none, or its text is no UTF-8.
    init?(_ text: some Collection<UInt8>) {
        var fields: [(name: String, value: String)] = []
        for part in text.split(separator: UInt8(ascii: "&")) {
            let pair = part.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
            guard fields.count < Form.mostFields, let name = Form.decoded(pair[0]), let value = Form.decoded(pair.count == 2 ? pair[1] : pair[0].prefix(0)) else { return nil }
            fields.append((name, value))
        }
        self.fields = fields
    }

    /// The first of this name; empty if there is none.
    subscript(name: String) -> String { fields.first { $0.name == name }?.value ?? "" }

    func has(_ name: String) -> Bool { fields.contains { $0.name == name } }

    private static func decoded(_ bytes: some Collection<UInt8>) -> String? {
        var result: [UInt8] = []
        result.reserveCapacity(bytes.count)
        var rest = bytes.makeIterator()
        while let byte = rest.next() {
            switch byte {
            case UInt8(ascii: "+"): result.append(0x20)
            case UInt8(ascii: "%"):
                guard let high = rest.next().flatMap(Hex.value), let low = rest.next().flatMap(Hex.value) else { return nil }
                result.append(high << 4 | low)
            default: result.append(byte)
            }
        }
        return String(validating: result, as: UTF8.self)
    }

    /// A value as it stands in a URL.
    static func encoded(_ text: String) -> String {
        text.utf8.map { byte in
            switch byte {
            case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"): String(UnicodeScalar(byte))
            default: "%" + Hex.text([byte]).uppercased()
            }
        }.joined()
    }

    static func == (left: Form, right: Form) -> Bool { left.fields.elementsEqual(right.fields) { $0 == $1 } }
}

/// Octets as hexadecimal digits.
enum Hex {
    private static let digits = Array("0123456789abcdef".utf8)

    static func text(_ bytes: some Sequence<UInt8>) -> String {
        String(decoding: bytes.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }

    static func value(_ digit: UInt8) -> UInt8? {
        switch digit {
        case 0x30...0x39: digit - 0x30
        case 0x41...0x46: digit - 0x37
        case 0x61...0x66: digit - 0x57
        default: nil
        }
    }
}
