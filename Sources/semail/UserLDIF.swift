// People as entries of LDIF (RFC 2849). Read is who they are; where an entry was in another directory, and what else a file could ask of
// this one, is not: everybody goes beneath ldap-base, nothing is changed or removed, and no value is fetched from a file or the net. Pure.
import Mail

enum LDIF {
    private struct Entry {
        var line = 0
        var values: [(name: String, value: String)] = []
        var fault: String?
    }

    static func people(_ text: ArraySlice<UInt8>) throws -> PeopleFile {
        var file = PeopleFile()
        var entry = Entry(), passedOver: Set<String> = []
        var pending: [UInt8] = [], pendingLine = 0, number = 0

        func endLine() {
            if !pending.isEmpty { take(pending, line: pendingLine, &entry) }
            pending = []
        }
        func endEntry() {
            endLine()
            if !entry.values.isEmpty || entry.fault != nil { add(entry, &file, &passedOver) }
            entry = Entry()
        }
        for line in text.split(separator: 0x0a, omittingEmptySubsequences: false) {
            number += 1
            let line = line.last == 0x0d ? line.dropLast() : line
            switch line.first {
            case nil: endEntry()
            // A line that begins with a space goes on with the one before it.
            case 0x20? where !pending.isEmpty: pending += line.dropFirst()
            default:
                endLine()
                (pending, pendingLine) = (Array(line), number)
            }
        }
        endEntry()
        file.passedOver = passedOver.sorted()
        return file
    }

    private static func take(_ line: [UInt8], line number: Int, _ entry: inout Entry) {
        if line[0] == 0x23 { return }
        guard let colon = line.firstIndex(of: 0x3a), colon > 0 else {
            fail("line \(number) is no \"name: value\"", number, &entry)
            return
        }
        let name = String(decoding: line[..<colon], as: UTF8.self).lowercased()
        if name == "version", entry.values.isEmpty { return }
        if entry.line == 0 { entry.line = number }
        var rest = line[(colon + 1)...]
        let kind = rest.first
        if kind == 0x3a || kind == 0x3c { rest = rest.dropFirst() }
        rest = rest.drop { $0 == 0x20 }
        switch kind {
        case 0x3c?: fail("line \(number) wants the value of \(name) from a URL: write it into the file", number, &entry)
        case 0x3a?:
            var bytes = Base64.decode(rest)
            // OpenLDAP 2.5 leaves a NUL and an octet that means nothing behind what it hashes with argon2.
            if name == "userpassword", let all = bytes, all.first == 0x7b { bytes = Array(all.prefix { $0 != 0 }) }
            guard let bytes, let value = String(validating: bytes, as: UTF8.self) else {
                // Pictures and certificates are octets; people's names are not.
                let isLookedAt = Person.attribute(name) != nil || name == "uid" || name == "userpassword"
                if isLookedAt { fail("line \(number): \(name) is no text in base64", number, &entry) } else { entry.values.append((name, "")) }
                return
            }
            entry.values.append((name, value))
        default:
            guard let value = String(validating: rest, as: UTF8.self) else { fail("line \(number) is no UTF-8", number, &entry); return }
            entry.values.append((name, value))
        }
    }

    private static func fail(_ text: String, _ number: Int, _ entry: inout Entry) {
        if entry.line == 0 { entry.line = number }
        if entry.fault == nil { entry.fault = text }
    }

    private static func add(_ entry: Entry, _ file: inout PeopleFile, _ passedOver: inout Set<String>) {
        func values(_ name: String) -> [String] { entry.values.filter { $0.name == name }.map(\.value) }
        let uids = Set(values("uid").map(\.trimmed)), uid = values("uid").first?.trimmed ?? ""
        func refuse(_ fault: String) { file.rows.append(PeopleFile.Row(line: entry.line, uid: uid, fault: fault)) }

        if let fault = entry.fault { return refuse(fault) }
        if entry.values.first?.name != "dn" { return refuse("it does not begin with dn:") }
        if let change = values("changetype").first, change.trimmed.lowercased() != "add" {
            return refuse("changetype \(change): people are added here, and nothing else is done")
        }
        if !values("control").isEmpty { return refuse("controls are not taken") }
        if uids.isEmpty { file.others += 1; return }
        if uids.count > 1 { return refuse("it has \(uids.count) uids, and a person has one") }

        var attributes: [(String, [String])] = []
        var password: Person.Password?
        for (name, value) in entry.values where !["dn", "changetype", "objectclass", "uid"].contains(name) {
            if name == "userpassword" {
                if password != nil { return refuse("it has two passwords") }
                password = value.hasPrefix("{") ? .hashed(value) : .plain(Array(value.utf8))
                continue
            }
            guard let known = Person.attribute(name) else { passedOver.insert(name); continue }
            if value.trimmed.isEmpty { continue }
            let index = attributes.firstIndex { $0.0 == known }
            if let index { attributes[index].1.append(value.trimmed) } else { attributes.append((known, [value.trimmed])) }
        }
        do { file.rows.append(PeopleFile.Row(line: entry.line, try Person.checked(uid: uid, attributes, password: password))) } catch {
            refuse(Failure.sentence(error) ?? "\(error)")
        }
    }
}
