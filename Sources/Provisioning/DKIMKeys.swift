// Keys that sign mail: made, shown and removed, in control/dkim/DOMAIN. dkim-sign alone uses them, and on an installed host they are
// its user's from birth. root works in that user's directory here: it opens nothing but by directories held open, follows no link, and
// hands over what it has made before it has a name. Public halves are told to everybody in run/dkim/DOMAIN: NAME, a TAB, the text.
import Control
import DKIM
import Mail
import TLS
import Unix

/// One key on disk, its public half.
public struct DKIMKey: Sendable {
    public let domain: String
    public let selector: String
    public let algorithm: String
    public let file: String
    /// The name of the record that tells it.
    public let name: String
    /// What the record says.
    public let text: String
    /// The same, in strings of a TXT record.
    public let strings: [String]
    /// The record as a zone file has it.
    public let zoneText: String

    init(_ key: SigningKey, domain: String, selector: String, in directory: borrowing Directory) {
        self.domain = domain
        self.selector = selector
        algorithm = key.algorithm
        file = directory.path + "/" + KeyFile.name(selector: selector)
        let record = KeyRecord(domain: domain, selector: selector, algorithm: key.algorithm, publicKey: key.publicKey)
        (name, text, strings, zoneText) = (record.name, record.text, record.strings, record.zoneText)
    }

}

public enum DKIMKeys {
    /// Whose keys they are on an installed host: dkim-sign runs as this user.
    private static let user = "semail-dkim"
    /// Nobody's key file is larger.
    private static let fileLimit = 65536

    /// Begins the names of keys that nobody named: `semail2026`.
    public static var selector: String { "semail\(MailDate.short(seconds: Clock.seconds()).prefix(4))" }

    // MARK: What there is

    /// By domain and selector.
    public static func all(_ home: Home) throws -> [DKIMKey] {
        guard let directory = try open(home) else { return [] }
        return try directory.names().flatMap { try keys($0, in: directory) }
    }

    public static func of(_ domain: String, _ home: Home) throws -> [DKIMKey] {
        guard let directory = try open(home) else { return [] }
        return try keys(domain, in: directory)
    }

    private static func keys(_ domain: String, in directory: borrowing Directory) throws -> [DKIMKey] {
        do throws(SystemError) { _ = try directory.status(domain) } catch { if error.isMissing { return [] } else { throw error } }
        let inner = try directory.directory(domain)
        var keys: [DKIMKey] = []
        for name in try inner.names() {
            guard let selector = KeyFile.selector(file: name) else { continue }
            // A FIFO would keep us for ever.
            guard try inner.status(name).isRegular else { throw ProvisioningError("\(inner.path)/\(name) is no file: remove it") }
            let pem = try inner.contents(name, limit: fileLimit)
            let key: SigningKey
            do throws(TLSFault) { key = try SigningKey(pem: pem) } catch { throw ProvisioningError("\(inner.path)/\(name): \(error.text)") }
            keys.append(DKIMKey(key, domain: domain, selector: selector, in: inner))
        }
        return keys
    }

    /// nil: no key was ever made here.
    private static func open(_ home: Home) throws -> Directory? {
        guard try Entry(home.keys) != nil else { return nil }
        return try Directory(home.keys)
    }

    // MARK: Making

    /// An RSA and an Ed25519 key for a domain, those of them that it has not yet; then the records of all it has, as Zone.add takes them.
    /// May be repeated after a crash.
    public static func ensure(_ home: Home, domain: String) throws -> [(name: String, text: String)] {
        let known = try of(domain, home).map(\.algorithm)
        let wanted: [(selector: String, kind: SigningKey.Kind)] = [("\(selector)-rsa", .rsa2048), ("\(selector)-ed25519", .ed25519)]
        _ = try make(home, domain: domain, kinds: wanted.filter { !known.contains($0.kind == .rsa2048 ? "rsa-sha256" : "ed25519-sha256") })
        return try of(domain, home).map { ($0.name, $0.text) }
    }

    /// Makes keys under selectors that must be free. A key signs as soon as it has its name.
    public static func make(_ home: Home, domain: String, kinds: [(selector: String, kind: SigningKey.Kind)]) throws -> [DKIMKey] {
        for (selector, _) in kinds {
            // RFC 1035 2.3.4: 253 octets as people write it.
            guard KeyFile.isSelector(selector), "\(selector)._domainkey.\(domain)".utf8.count <= 253 else {
                throw ProvisioningError("\"\(selector)\" can be no selector: letters, digits and hyphens, in parts joined by dots, and not too long")
            }
        }
        let place = try Place(domain, home)
        for (selector, _) in kinds where (try? place.directory.status(KeyFile.name(selector: selector))) != nil {
            throw ProvisioningError(
                "\(place.directory.path)/\(KeyFile.name(selector: selector)) is there already, and a key is never overwritten: choose another name with --selector")
        }
        var keys: [DKIMKey] = []
        for (selector, kind) in kinds {
            let key: SigningKey
            do throws(TLSFault) { key = try SigningKey.generate(kind) } catch { throw ProvisioningError("no key could be made: \(error.text)") }
            try Entry.makeFile(KeyFile.name(selector: selector), in: place.directory, with: key.pem, mode: 0o400, owner: place.owner)
            keys.append(DKIMKey(key, domain: domain, selector: selector, in: place.directory))
        }
        try tell(domain, home)
        return keys
    }

    /// Where a domain's keys go; made if it is not there.
    private struct Place: ~Copyable {
        let directory: Directory
        /// Whose the keys shall be; nil: whoever makes them.
        let owner: (uid: UInt32, gid: UInt32)?

        init(_ domain: String, _ home: Home) throws {
            if try Entry(home.keys) == nil { try Path.makeDirectory(home.keys, mode: 0o700) }
            if User.isRoot, let user = User(user), let entry = try Entry(home.keys), entry.kind == .directory, entry.uid == 0 {
                try Path.setOwner(home.keys, uid: user.uid, gid: user.gid)
            }
            let all = try Directory(home.keys)
            let status = try IO.status(all.descriptor.raw)
            let owner = User.isRoot && status.uid != 0 ? (uid: status.uid, gid: status.gid) : nil
            do throws(SystemError) { try all.makeDirectory(domain, mode: 0o700) } catch { if !error.isExisting { throw error } }
            let directory = try all.directory(domain)
            if let owner, try IO.status(directory.descriptor.raw).uid == 0 { try IO.setOwner(directory.descriptor.raw, uid: owner.uid, gid: owner.gid) }
            self.directory = directory
            self.owner = owner
        }
    }

    // MARK: Removing

    /// Removes all keys of a domain, and what was told of them. Nothing that is there is well.
    public static func remove(_ home: Home, domain: String) throws {
        if let told = try told(home, making: false) {
            do throws(SystemError) { try told.remove(domain) } catch { if !error.isMissing { throw error } }
        }
        guard let directory = try open(home) else { return }
        try Tree.remove(domain, in: directory)
        try directory.flush()
    }

    // MARK: Telling

    /// Writes run/dkim/DOMAIN, for those who show it: the keys themselves can be read by nobody else.
    public static func tell(_ domain: String, _ home: Home) throws {
        let text = try of(domain, home).map { "\($0.name)\t\($0.text)\n" }.joined()
        try told(home, making: true)?.replace(domain, with: Array(text.utf8), mode: 0o644)
    }

    /// run/dkim; nil: it is not there.
    private static func told(_ home: Home, making: Bool) throws -> Directory? {
        let path = home.run + "/dkim"
        if try Entry(path) == nil {
            guard making else { return nil }
            try Path.makeDirectory(path, mode: 0o755)
            try Path.setMode(path, 0o755)
        }
        let run = try Directory(searching: home.run)
        let told = try run.directory("dkim")
        // run/ has other users too: what one of them made there is no place to write to, nor to read from.
        guard try IO.status(told.descriptor.raw).uid == User.current.uid else { throw ProvisioningError("\(path) belongs to another user: remove it") }
        return told
    }
}
