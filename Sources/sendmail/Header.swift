// The header section: who is named in it, what is left out of it, what is added.
import Mail

struct Header {
    struct Field {
        /// In small letters.
        let name: String
        /// Everything from the name to the last line end, which is LF.
        var text: [UInt8]

        var body: [UInt8] { Array(text.drop { $0 != 0x3a }.dropFirst()) }
    }

    private(set) var fields: [Field] = []

    /// RFC 5322 3.6.4 and 3.6.6: those with addresses in them.
    private static let withAddresses: Set<String> = [
        "from", "sender", "reply-to", "to", "cc", "bcc", "resent-from", "resent-sender", "resent-to", "resent-cc", "resent-bcc",
    ]

    /// The name of the field that the line begins; nil: it begins none.
    static func name(_ line: [UInt8]) -> String? {
        guard let colon = line.firstIndex(of: 0x3a) else { return nil }
        var name = line[..<colon]
        // RFC 5322 4.5: space before the colon is obsolete syntax.
        while let last = name.last, last == 0x20 || last == 0x09 { name.removeLast() }
        guard !name.isEmpty, name.allSatisfy({ 0x21...0x7e ~= $0 }) else { return nil }
        return String(decoding: name.map(\.lowercased), as: UTF8.self)
    }

    /// false: the line is none of a header.
    mutating func take(_ line: [UInt8]) -> Bool {
        if let first = line.first, first == 0x20 || first == 0x09, !fields.isEmpty {
            fields[fields.count - 1].text += line
            return true
        }
        guard let name = Header.name(line) else { return false }
        fields.append(Field(name: name, text: line))
        return true
    }

    /// The recipients of -t. Of a message that is sent again (RFC 5322 3.6.6), those of the last time, whose fields are the first.
    func recipients(_ domain: () throws(Trouble) -> [UInt8]) throws(Trouble) -> [Address] {
        var names = ["to", "cc", "bcc"]
        var looked = fields[...]
        if let start = fields.firstIndex(where: { $0.name.hasPrefix("resent-") }) {
            var seen: Set<String> = []
            looked = fields[start...].prefix { $0.name.hasPrefix("resent-") && seen.insert($0.name).inserted }
            names = names.map { "resent-" + $0 }
        }
        var found: [Address] = []
        for field in looked where names.contains(field.name) {
            guard let list = try AddressField(field.body, domain: domain) else {
                throw Trouble("the field \(field.name) cannot be read: \(String(decoding: field.body.prefix(200), as: UTF8.self))", .data)
            }
            found += list.addresses
        }
        return found
    }

    /// What no recipient may see goes; an address without a domain gets one; a From that is missing is added.
    mutating func complete(from: () throws(Trouble) -> [UInt8], domain: () throws(Trouble) -> [UInt8]) throws(Trouble) {
        fields.removeAll { $0.name == "bcc" || $0.name == "resent-bcc" }
        for index in fields.indices where Header.withAddresses.contains(fields[index].name) {
            guard let list = try AddressField(fields[index].body, domain: domain) else { continue }
            fields[index].text = fields[index].text.prefix { $0 != 0x3a } + [0x3a] + list.body
        }
        if !fields.contains(where: { $0.name == "from" }) { fields.append(Field(name: "from", text: Array("From: ".utf8) + (try from()) + [0x0a])) }
    }

    /// RFC 6531: only with SMTPUTF8.
    var is8Bit: Bool { fields.contains { $0.text.contains { $0 >= 0x80 } } }

    /// A name and an address: `"Anna B." <anna@example.org>`.
    static func mailbox(_ name: [UInt8], _ address: Address) -> [UInt8] {
        let shown = name.filter { $0 >= 0x20 && $0 != 0x7f }
        if shown.isEmpty { return address.bytes }
        let word: [UInt8]
        if shown.allSatisfy({ $0 < 0x80 }) {
            word = [0x22] + shown.flatMap { $0 == 0x22 || $0 == 0x5c ? [0x5c, $0] : [$0] } + [0x22]
        } else {
            // RFC 2047; what is longer than an encoded word may be is no name of a person.
            word = Array("=?UTF-8?B?".utf8) + Base64.encode(Array(shown.prefix(45))) + Array("?=".utf8)
        }
        return word + [0x20, 0x3c] + address.bytes + [0x3e]
    }
}
