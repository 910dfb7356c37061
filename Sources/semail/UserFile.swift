// A file of people, CSV or LDIF, as rows: each a person, or why it is none, with the line it begins in. Files come from other people's
// programs; what is in them is never trusted to be what it says.
import Unix

struct PeopleFile {
    struct Row {
        let line: Int
        /// As far as the row tells.
        let uid: String
        /// nil: it is refused.
        let person: Person?
        let fault: String

        init(line: Int, _ person: Person) { (self.line, uid, self.person, fault) = (line, person.uid, person, "") }
        init(line: Int, uid: String, fault: String) { (self.line, self.uid, person, self.fault) = (line, uid, nil, fault) }
    }

    var rows: [Row] = []
    /// Columns or attributes that were not looked at.
    var passedOver: [String] = []
    /// Entries that are no people: groups, organizational units.
    var others = 0
    var isLatin = false

    private static let most = 64 << 20

    /// `path`: `-` is standard input.
    static func read(_ path: String) throws -> PeopleFile {
        let bytes: [UInt8]
        do throws(SystemError) {
            bytes = try IO.contents(named: path, limit: most)
        } catch {
            if error.isTooLarge { throw Failure("\(path) is larger than \(Words.size(most)): import it in parts") }
            throw Failure(error.isMissing ? "there is no file \(path)" : error.text)
        }
        if bytes.starts(with: [0xff, 0xfe]) || bytes.starts(with: [0xfe, 0xff]) || bytes.contains(0) {
            throw Failure("\(path) is UTF-16, or no text at all: save it as CSV in UTF-8")
        }
        let text = bytes.starts(with: [0xef, 0xbb, 0xbf]) ? bytes[3...] : bytes[...]
        if isLDIF(text) { return try LDIF.people(text) }
        guard String(validating: text, as: UTF8.self) == nil else { return try CSV.people(text) }
        var file = try CSV.people(Latin.decoded(text)[...])
        file.isLatin = true
        return file
    }

    /// By its first line that says something (RFC 2849).
    private static func isLDIF(_ text: ArraySlice<UInt8>) -> Bool {
        for line in text.split(whereSeparator: { $0 == 0x0a || $0 == 0x0d }).prefix(1000) where line.first != 0x23 && line.contains(where: { $0 > 0x20 }) {
            let word = String(decoding: line.prefix(8), as: UTF8.self).lowercased()
            return word.hasPrefix("dn:") || word.hasPrefix("version:")
        }
        return false
    }

    /// The same uid twice in one file is a mistake, whatever else the rows say.
    mutating func refuseTwins() {
        var lines: [String: Int] = [:]
        rows = rows.map { row in
            guard row.person != nil else { return row }
            if let first = lines[row.uid] { return Row(line: row.line, uid: row.uid, fault: "\(row.uid) stands in line \(first) already") }
            lines[row.uid] = row.line
            return row
        }
    }
}

/// Windows-1252, which is what spreadsheets mean where they write no UTF-8: ISO 8859-1 and some letters more.
enum Latin {
    private static let upper: [UInt32] = [
        0x20ac, 0x81, 0x201a, 0x0192, 0x201e, 0x2026, 0x2020, 0x2021, 0x02c6, 0x2030, 0x0160, 0x2039, 0x0152, 0x8d, 0x017d, 0x8f,
        0x90, 0x2018, 0x2019, 0x201c, 0x201d, 0x2022, 0x2013, 0x2014, 0x02dc, 0x2122, 0x0161, 0x203a, 0x0153, 0x9d, 0x017e, 0x0178,
    ]

    static func decoded(_ bytes: ArraySlice<UInt8>) -> [UInt8] {
        var text: [UInt8] = []
        text.reserveCapacity(bytes.count + bytes.count / 8)
        for byte in bytes {
            if byte < 0x80 { text.append(byte); continue }
            let value = 0x80..<0xa0 ~= byte ? upper[Int(byte - 0x80)] : UInt32(byte)
            text += Array(String(Unicode.Scalar(value)!).utf8)
        }
        return text
    }
}
