// semail key: the SSH keys by which owners reach their containers.
import ArgumentParser
import Control
import Provisioning
import Unix

struct KeyCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "key", abstract: "Shows and sets the SSH keys of the owners of containers.", subcommands: [List.self, Set.self])

    struct List: HomeCommand {
        static let configuration = CommandConfiguration(abstract: "Lists an owner's keys.")

        @Argument(help: "Whose they are.")
        var owner: String
        @OptionGroup var common: Common

        func run() throws { try KeyFacts.tell(try Name.owner(owner), try common.openHome(), common) }
    }

    struct Set: HomeCommand {
        static let configuration = CommandConfiguration(
            abstract: "Replaces an owner's keys.",
            discussion: "The keys are lines of .pub files, \(SSHKeys.most) at most, in a file or on standard input. Without any, nobody gets in by SSH any more.")

        @Argument(help: "Whose they are.")
        var owner: String
        @Argument(help: "A file with the keys; - (the default): standard input.")
        var file = "-"
        @OptionGroup var common: Common

        func run() throws {
            // Before this process becomes the home's user.
            let bytes = try IO.contents(named: file, limit: 1 << 20)
            let home = try common.openHome()
            let lock = try OwnerLock(home, try Name.owner(owner))
            guard let mailbox = try MailboxRegister(home).mailbox(of: owner)?.listed.mailbox else { throw ContainerFacts.noMailbox(owner) }
            guard let container = mailbox.keep.container else { throw Failure("\(owner) has no container: semail container create \(owner) makes it") }
            let lines = String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isNewline).map(String.init).filter { !$0.hasPrefix("#") }
            try SSHKeys(home).replace(owner: owner, keys: lines, container: container)
            try lock.release()
            try KeyFacts.tell(owner, home, common)
        }
    }
}

enum KeyFacts {
    static func tell(_ owner: String, _ home: Home, _ common: Common) throws {
        let keys = try SSHKeys(home).keys(of: owner)
        if common.json {
            Out.document(.object([("owner", .string(owner)), ("keys", .list(keys.map { key in
                .object([("type", .string(key.type)), ("fingerprint", .string(key.fingerprint)), ("comment", .string(key.comment))])
            }))]))
            return
        }
        Table.print(["TYPE", "FINGERPRINT", "COMMENT"], keys.map { [Cell($0.type), Cell($0.fingerprint), Cell($0.comment)] })
    }
}
