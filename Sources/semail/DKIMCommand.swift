// semail dkim: the keys that sign mail, made and shown. dkim-sign alone uses them.
import ArgumentParser
import Control
import Provisioning
import TLS

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
            let selector = (selector ?? DKIMKeys.selector).lowercased()
            let keys = try DKIMKeys.make(common.openHome(), domain: domain, kinds: [("\(selector)-rsa", .rsa2048), ("\(selector)-ed25519", .ed25519)])
            if common.json { Out.document(.object(DKIMCommand.members(domain, keys))); return }
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
            if common.json { Out.document(.object(DKIMCommand.members(domain, keys))); return }
            for key in keys { Out.write(key.zoneText) }
        }
    }

    private static func members(_ domain: String, _ keys: [DKIMKey]) -> [(String, JSON)] {
        [("domain", .string(domain)), ("records", .list(keys.map { key in
            .object(key.members.dropFirst() + [("name", .string(key.name)), ("text", .string(key.text)), ("strings", .list(key.strings.map { .string($0) }))])
        }))]
    }
}

extension DKIMKey {
    var members: [(String, JSON)] { [("domain", .string(domain)), ("selector", .string(selector)), ("algorithm", .string(algorithm)), ("file", .string(file))] }
}
