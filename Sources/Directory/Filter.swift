// Search filters (RFC 4515) from a template. What a stranger types becomes an assertion value and never syntax; names of entries are
// not made here at all, the directory tells them.

/// A template such as `(uid=%u)` or `(&(objectClass=person)(|(uid=%u)(mail=%u)))`.
public struct Filter: Equatable, Sendable {
    /// The text around each `%u`: one piece more than there are.
    private let pieces: [String]
    /// What the user is compared with.
    let attributes: [String]

    /// nil: `%u` is not there, or is not a whole value (`=%u)`), which is the only place where it means what it seems to.
    public init?(_ template: String) {
        var pieces: [String] = [], attributes: [String] = []
        var rest = template.utf8[...]
        var piece: [UInt8] = []
        while let byte = rest.popFirst() {
            if byte == 0 { return nil }
            guard byte == 0x25, rest.first == 0x75 else { piece.append(byte); continue }
            rest.removeFirst()
            guard let attribute = Filter.attribute(before: piece), rest.first == 0x29 else { return nil }
            if !attributes.contains(attribute) { attributes.append(attribute) }
            pieces.append(String(decoding: piece, as: UTF8.self))
            piece = []
        }
        guard !pieces.isEmpty else { return nil }
        self.pieces = pieces + [String(decoding: piece, as: UTF8.self)]
        self.attributes = attributes
    }

    /// `uid` of `...(uid=`; only a plain equality.
    private static func attribute(before piece: [UInt8]) -> String? {
        guard piece.last == 0x3d, let open = piece.lastIndex(of: 0x28) else { return nil }
        let name = piece[(open + 1)..<(piece.count - 1)]
        guard !name.isEmpty, name.allSatisfy({ 0x30...0x39 ~= $0 || 0x41...0x5a ~= $0 || 0x61...0x7a ~= $0 || $0 == 0x2d || $0 == 0x2e }) else { return nil }
        return String(decoding: name, as: UTF8.self)
    }

    /// The filter for one user.
    func text(_ user: [UInt8]) -> String { pieces.joined(separator: Filter.escaped(user)) }

    /// RFC 4515 3: `*`, `(`, `)`, `\` and NUL must be written as `\` and two digits, every other octet may be. Here all are that are
    /// not letters, digits, or harmless signs of names.
    static func escaped(_ value: [UInt8]) -> String {
        let digits = Array("0123456789abcdef".utf8)
        var text: [UInt8] = []
        for byte in value {
            switch byte {
            case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x2d, 0x2e, 0x40, 0x5f: text.append(byte)
            default: text += [0x5c, digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: text, as: UTF8.self)
    }
}
