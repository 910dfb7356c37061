// The header section of a submitted message once more, line by line and plain to see through: what SubmissionHeader must make of it,
// and what no message that leaves may lack. The fuzz targets hold the real one against this, too.

enum PlainHeader {
    struct Field {
        /// In small letters, without the space before the colon.
        let name: [UInt8]
        /// With the colon, the lines it goes on over, and their line ends.
        var text: [UInt8]
        /// What stands behind the colon, line ends included.
        var body: [UInt8]
    }

    /// No name is longer, with the space before its colon.
    static let nameLimit = 256

    /// The fields at the front of `lines`, and how many lines they are (RFC 5322 2.2, with 4.5 for the space before the colon).
    static func fields(_ lines: [[UInt8]]) -> (fields: [Field], lines: Int) {
        var fields: [Field] = []
        for (index, line) in lines.enumerated() {
            if let first = line.first, first == 0x20 || first == 0x09, !fields.isEmpty {
                fields[fields.count - 1].text += line + [0x0a]
                fields[fields.count - 1].body += line + [0x0a]
                continue
            }
            guard let colon = line.firstIndex(of: 0x3a) else { return (fields, index) }
            let written = line[..<colon]
            let name = written.prefix { 0x21...0x7e ~= $0 }
            guard !name.isEmpty, written.count <= nameLimit, written.dropFirst(name.count).allSatisfy({ $0 == 0x20 || $0 == 0x09 }) else { return (fields, index) }
            fields.append(Field(name: name.map { 0x41...0x5a ~= $0 ? $0 + 32 : $0 }, text: line + [0x0a], body: Array(line[(colon + 1)...]) + [0x0a]))
        }
        return (fields, lines.count)
    }

    /// A message, whose lines end with LF, as it must be stored; and the bodies of the fields that say who sends.
    static func completed(_ message: [UInt8], from: [UInt8], date: [UInt8], messageID: [UInt8]) -> (stored: [UInt8], identities: [[UInt8]], fromFields: Int) {
        var lines = message.split(separator: 0x0a, omittingEmptySubsequences: false).map { Array($0) }
        if lines.last == [] { lines.removeLast() }
        let (fields, count) = fields(lines)
        func has(_ name: String) -> Bool { fields.contains { $0.name == Array(name.utf8) } }
        let left: Set<[UInt8]> = [Array("bcc".utf8), Array("resent-bcc".utf8)]
        var stored = fields.filter { !left.contains($0.name) }.flatMap(\.text)
        if !has("from") { stored += Array("From: <".utf8) + from + Array(">\n".utf8) }
        if !has("date") { stored += Array("Date: ".utf8) + date + [0x0a] }
        if !has("message-id") { stored += Array("Message-ID: <".utf8) + messageID + Array(">\n".utf8) }
        let body = lines[count...]
        // The empty line before the body is the message's own, or is put there.
        if let first = body.first, !first.isEmpty { stored.append(0x0a) }
        stored += body.flatMap { $0 + [0x0a] }
        let names: Set<[UInt8]> = Set(["from", "sender", "resent-from", "resent-sender"].map { Array($0.utf8) })
        return (stored, fields.filter { names.contains($0.name) }.map(\.body), fields.filter { $0.name == Array("from".utf8) }.count)
    }

    /// What a stored message of the outgoing server has against it, its Received line in front (RFC 5322 3.6, RFC 6409 8).
    static func faults(_ content: [UInt8]) -> [String] {
        let lines = content.split(separator: 0x0a, omittingEmptySubsequences: false).map { Array($0) }
        let (fields, count) = fields(lines)
        var faults: [String] = []
        func number(_ name: String) -> Int { fields.count { $0.name == Array(name.utf8) } }
        if count < lines.count, !lines[count].isEmpty { faults.append("a header section that does not end with an empty line") }
        if number("from") != 1 { faults.append("\(number("from")) From fields were stored") }
        if number("date") == 0 || number("message-id") == 0 { faults.append("stored without Date or Message-ID") }
        if number("bcc") + number("resent-bcc") > 0 { faults.append("Bcc was stored") }
        return faults
    }
}
