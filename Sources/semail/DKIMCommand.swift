// semail dkim: the keys that sign mail, made and shown. dkim-sign alone uses them.
import ArgumentParser
import Control
import DKIM
import Mail
import Provisioning
import TLS
import Unix

struct DKIMCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "dkim", abstract: "Makes and shows the keys that sign mail.",
        subcommands: [Create.self, List.self, Show.self])

    struct Create: HomeCommand {
        static let configuration = CommandConfiguration(
            abstract: "Makes an RSA key and an Ed25519 key for a domain.",
            discussion: "Mail from the domain is signed with them from now on. Publish what semail dkim show DOMAIN says.")

        @Argument(help: "The domain, as it stands in From fields.")
        var domain: String
        @Option(help: ArgumentHelp("Begins the names of both keys (default: semail and the year).", valueName: "name"))
        var selector: String?
        @OptionGroup var common: Common

        func run() throws {
            let domain = try Name.hostname(domain)
            let year = MailDate.short(seconds: Clock.seconds()).prefix(4)
            let selector = (selector ?? "semail\(year)").lowercased()
            let keys = try DKIMKeys.make(common.openHome(), domain: domain, kinds: [("\(selector)-rsa", .rsa2048), ("\(selector)-ed25519", .ed25519)])
            if common.json { Out.document(.object(DKIMKeys.members(domain, keys))); return }
            Out.line("\(domain): made \(keys.map(\.file).joined(separator: " and "))")
            Out.line("mail from \(domain) is signed with both from now on; publish what this prints: semail dkim show \(domain)")
        }
    }

    struct List: HomeCommand {
        static let configuration = CommandConfiguration(abstract: "Lists every key.")

        @OptionGroup var common: Common

        func run() throws {
            let keys = try DKIMKeys.all(common.openHome())
            if common.json { Out.document(.object([("keys", .list(keys.map { .object($0.members) }))])); return }
            Table.print(["DOMAIN", "SELECTOR", "ALGORITHM", "FILE"], keys.map { [Cell($0.domain), Cell($0.selector), Cell($0.algorithm), Cell($0.file)] })
        }
    }

    struct Show: HomeCommand {
        static let configuration = CommandConfiguration(abstract: "Shows a domain's keys as DNS must have them: lines for a zone file.")

        @Argument(help: "The domain.")
        var domain: String
        @OptionGroup var common: Common

        func run() throws {
            let domain = try Name.hostname(domain)
            let keys = try DKIMKeys.of(domain, common.openHome())
            guard !keys.isEmpty else { throw Failure("\(domain) has no keys: semail dkim create \(domain) makes them") }
            if common.json { Out.document(.object(DKIMKeys.members(domain, keys))); return }
            for key in keys { Out.write(key.record.zoneText) }
        }
    }
}

/// One key on disk, its public half.
struct DKIMKey {
    let domain: String
    let selector: String
    let algorithm: String
    let file: String
    let record: KeyRecord

    init(_ key: SigningKey, domain: String, selector: String, in directory: borrowing Directory) {
        self.domain = domain
        self.selector = selector
        algorithm = key.algorithm
        file = directory.path + "/" + KeyFile.name(selector: selector)
        record = KeyRecord(domain: domain, selector: selector, algorithm: key.algorithm, publicKey: key.publicKey)
    }

    var members: [(String, JSON)] { [("domain", .string(domain)), ("selector", .string(selector)), ("algorithm", .string(algorithm)), ("file", .string(file))] }
}

enum DKIMKeys {
    /// Whose keys they are on an installed host: dkim-sign runs as this user.
    private static let user = "semail-dkim"

    static func members(_ domain: String, _ keys: [DKIMKey]) -> [(String, JSON)] {
        [("domain", .string(domain)), ("records", .list(keys.map { key in
            .object(key.members.dropFirst() + [
                ("name", .string(key.record.name)), ("text", .string(key.record.text)), ("strings", .list(key.record.strings.map { .string($0) })),
            ])
        }))]
    }

    static func all(_ home: Home) throws -> [DKIMKey] {
        guard let directory = try open(home) else { return [] }
        return try directory.names().flatMap { try keys($0, in: directory) }
    }

    static func of(_ domain: String, _ home: Home) throws -> [DKIMKey] {
        guard let directory = try open(home) else { return [] }
        return try keys(domain, in: directory)
    }

    private static func keys(_ domain: String, in directory: borrowing Directory) throws -> [DKIMKey] {
        do throws(SystemError) { _ = try directory.status(domain) } catch { if error.isMissing { return [] } else { throw error } }
        let inner = try directory.directory(domain)
        var keys: [DKIMKey] = []
        for name in try inner.names() {
            guard let selector = KeyFile.selector(file: name) else { continue }
            let pem = try inner.contents(name)
            let key: SigningKey
            do throws(TLSFault) { key = try SigningKey(pem: pem) } catch { throw Failure("\(inner.path)/\(name): \(error.text)") }
            keys.append(DKIMKey(key, domain: domain, selector: selector, in: inner))
        }
        return keys
    }

    /// The directory of all keys, made if it is not there; and this process its owner, so that keys are the owner's from birth, and
    /// nothing the owner has put there leads root astray.
    private static func openForMaking(_ home: Home) throws -> Directory {
        let path = home.control + "/" + KeyFile.directory
        if try Entry(path) == nil { try Path.makeDirectory(path, mode: 0o700) }
        if User.isRoot, let user = User(user), try IO.status(ofDirectory: path).uid == 0 { try Path.setOwner(path, uid: user.uid, gid: user.gid) }
        try Common.become(ownerOf: path)
        return try Directory(path)
    }

    /// nil: no key was ever made here.
    private static func open(_ home: Home) throws -> Directory? {
        let path = home.control + "/" + KeyFile.directory
        guard try Entry(path) != nil else { return nil }
        try Common.become(ownerOf: path)
        return try Directory(path)
    }

    /// Makes keys under selectors that must be free. A key signs as soon as it has its name.
    static func make(_ home: Home, domain: String, kinds: [(selector: String, kind: SigningKey.Kind)]) throws -> [DKIMKey] {
        for (selector, _) in kinds {
            // RFC 1035 2.3.4: 253 octets as people write it.
            guard KeyFile.isSelector(selector), "\(selector)._domainkey.\(domain)".utf8.count <= 253 else {
                throw Failure("\"\(selector)\" can be no selector: letters, digits and hyphens, in parts joined by dots, and not too long")
            }
        }
        let all = try openForMaking(home)
        do throws(SystemError) { try all.makeDirectory(domain, mode: 0o700) } catch { if !error.isExisting { throw error } }
        let directory = try all.directory(domain)
        for (selector, _) in kinds where (try? directory.status(KeyFile.name(selector: selector))) != nil {
            throw Failure("\(directory.path)/\(KeyFile.name(selector: selector)) is there already, and a key is never overwritten: choose another name with --selector")
        }
        var keys: [DKIMKey] = []
        for (selector, kind) in kinds {
            let key: SigningKey
            do throws(TLSFault) { key = try SigningKey.generate(kind) } catch { throw Failure("no key could be made: \(error.text)") }
            try Entry.makeFile(KeyFile.name(selector: selector), in: directory, with: key.pem, mode: 0o400)
            keys.append(DKIMKey(key, domain: domain, selector: selector, in: directory))
        }
        return keys
    }
}
