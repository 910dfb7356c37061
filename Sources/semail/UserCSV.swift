// People as rows of CSV (RFC 4180), with commas, semicolons or tabs, as spreadsheets of several countries write it. The first row names
// the columns. Pure.

enum CSV {
    /// A row as it stands; `fault`: it is not well-formed.
    struct Record {
        let line: Int
        var fields: [String] = []
        var fault: String?
    }

    /// What a column holds: an attribute by its name in Person.known, or one of these.
    private static let uid = "uid", password = "password", hash = "userPassword"
    /// What people call their columns.
    private static let synonyms = [
        "login": uid, "identifiant": uid, "user": uid, "username": uid,
        "prénom": "givenName", "prenom": "givenName", "firstname": "givenName", "first name": "givenName",
        "nom": "sn", "name": "sn", "surname": "sn", "lastname": "sn", "last name": "sn", "courriel": "mail", "email": "mail", "e-mail": "mail",
        "mot de passe": password, "password": password, "userpassword": hash, "uid": uid, "téléphone": "telephoneNumber",
    ]

    static func people(_ text: ArraySlice<UInt8>) throws -> PeopleFile {
        var text = text, skipped = 0
        // Excel's own word on its separator.
        var separator: UInt8?
        if text.starts(with: Array("sep=".utf8)), text.count > 4 {
            separator = text[text.startIndex + 4]
            guard let end = text.firstIndex(of: 0x0a) else { throw Failure("the file has no rows") }
            text = text[(end + 1)...]
            skipped = 1
        }
        let records = records(text, separator ?? guessed(text), firstLine: 1 + skipped)
        guard let head = records.first else { throw Failure("the file is empty") }
        if let fault = head.fault { throw Failure("line \(head.line): \(fault)") }
        var file = PeopleFile()
        let columns = try columns(head, &file)
        file.rows = records.dropFirst().map { row($0, columns) }
        return file
    }

    private static func columns(_ head: Record, _ file: inout PeopleFile) throws -> [String?] {
        var columns: [String?] = []
        for field in head.fields {
            let name = field.trimmed
            let column = synonyms[name.lowercased()] ?? Person.attribute(name)
            if let column, columns.contains(column) { throw Failure("line \(head.line): two columns mean \(column)") }
            if column == nil, !name.isEmpty { file.passedOver.append(name) }
            columns.append(column)
        }
        for needed in [uid, "sn"] where !columns.contains(needed) {
            throw Failure("line \(head.line) should name the columns, and \(needed) is not among them; others are givenName, mail, password (semail(8))")
        }
        if columns.contains(password), columns.contains(hash) { throw Failure("line \(head.line): password and userPassword do not go together") }
        return columns
    }

    private static func row(_ record: Record, _ columns: [String?]) -> PeopleFile.Row {
        var uid = "", attributes: [(String, [String])] = [], secret: Person.Password?
        for (column, field) in zip(columns, record.fields) {
            switch column {
            case Self.uid?: uid = field.trimmed
            // Spaces may be meant.
            case password?: if !field.isEmpty { secret = .plain(Array(field.utf8)) }
            case hash?: if !field.isEmpty { secret = field.hasPrefix("{") ? .hashed(field) : .plain(Array(field.utf8)) }
            case let name?: if !field.trimmed.isEmpty { attributes.append((name, [field.trimmed])) }
            case nil: break
            }
        }
        if let fault = record.fault { return PeopleFile.Row(line: record.line, uid: uid, fault: fault) }
        if record.fields.dropFirst(columns.count).contains(where: { !$0.isEmpty }) {
            return PeopleFile.Row(line: record.line, uid: uid, fault: "\(record.fields.count) fields for \(columns.count) columns")
        }
        do { return PeopleFile.Row(line: record.line, try Person.checked(uid: uid, attributes, password: secret)) } catch {
            return PeopleFile.Row(line: record.line, uid: uid, fault: Failure.sentence(error) ?? "\(error)")
        }
    }

    /// Whatever the first line has most of.
    private static func guessed(_ text: ArraySlice<UInt8>) -> UInt8 {
        let head = text.prefix { $0 != 0x0a && $0 != 0x0d }
        return [0x2c, 0x3b, 0x09].max { left, right in head.count { $0 == left } < head.count { $0 == right } } ?? 0x2c
    }

    /// Rows that are not blank; spreadsheets leave some with nothing but separators. Lines end with LF, CR LF or CR.
    static func records(_ text: ArraySlice<UInt8>, _ separator: UInt8, firstLine: Int) -> [Record] {
        var records: [Record] = []
        var line = firstLine, place = text.startIndex
        while place < text.endIndex {
            var record = Record(line: line)
            read(&record, text, &place, &line, separator)
            if record.fault != nil || record.fields.contains(where: { !$0.trimmed.isEmpty }) { records.append(record) }
        }
        return records
    }

    private static func read(_ record: inout Record, _ text: ArraySlice<UInt8>, _ place: inout Int, _ line: inout Int, _ separator: UInt8) {
        var field: [UInt8] = [], isQuoted = false, wasQuoted = false
        while place < text.endIndex {
            let byte = text[place]
            place += 1
            let isEnd = byte == 0x0a || byte == 0x0d
            if isEnd {
                if byte == 0x0d, place < text.endIndex, text[place] == 0x0a { place += 1 }
                line += 1
            }
            switch byte {
            case 0x22 where isQuoted:
                // Two are one of the text.
                if place < text.endIndex, text[place] == 0x22 { field.append(0x22); place += 1 } else { (isQuoted, wasQuoted) = (false, true) }
            case _ where isQuoted: field.append(isEnd ? 0x0a : byte)
            case 0x22 where field.isEmpty && !wasQuoted: isQuoted = true
            case _ where isEnd || byte == separator:
                record.fields.append(String(decoding: field, as: UTF8.self))
                (field, wasQuoted) = ([], false)
                if isEnd { return }
            default:
                if wasQuoted || byte == 0x22 { record.fault = "a quote stands amid a field" }
                field.append(byte)
            }
        }
        if isQuoted { record.fault = "a quote that begins in this row does not end" }
        record.fields.append(String(decoding: field, as: UTF8.self))
    }
}
