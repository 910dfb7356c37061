// semail mailbox: addresses that exist, and whose they are.
import ArgumentParser
import Control
import Mail
import Provisioning
import Unix

struct MailboxCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "mailbox", abstract: "Makes, removes and shows mailboxes.",
        subcommands: [Create.self, Delete.self, List.self, Show.self, Container.self])

    struct Create: HomeCommand {
        static let configuration = CommandConfiguration(
            abstract: "Makes a mailbox: an address, and a Maildir for its owner.",
            discussion: "Given again, it completes what was interrupted, and otherwise changes nothing.")

        @Argument(help: "The person it belongs to; an owner has one mailbox.")
        var owner: String
        @Argument(help: "The address, such as anna@example.org.")
        var address: String
        @Option(help: ArgumentHelp("The size of its volume, such as 5G.", valueName: "size"))
        var size: String?
        @OptionGroup var common: Common

        func run() throws {
            let address = try Name.mailbox(address)
            let octets = try size.map { text in
                guard let octets = Setting.volumeSize.number(text) else { throw Failure("\"\(text)\" is no size: give one such as 500M or 5G") }
                return octets
            }
            let progress = StepProgress(common)
            switch try Making(common.openHome()).run(Wish(owner: owner, address: address, volumeOctets: octets, isAdmins: true), report: progress.note) {
            case .made(let mailbox), .waiting(let mailbox): show(address, mailbox, isNew: true)
            case .wasThere(let mailbox): show(address, mailbox, isNew: false)
            }
        }

        private func show(_ address: Address, _ mailbox: Mailbox, isNew: Bool) {
            if common.json { Out.document(.object(MailboxFacts.members(address, mailbox) + [("isNew", .bool(isNew))])); return }
            let what = isNew ? "mailbox" : "was there already; the mailbox"
            Out.line("\(address.text): \(what) of \(mailbox.owner), uid \(mailbox.uid), in \(mailbox.maildir)")
        }
    }

    struct Delete: HomeCommand {
        static let configuration = CommandConfiguration(
            abstract: "Removes a mailbox and the mail in it.",
            discussion: "Given again, it completes what was interrupted. Mail for it that waits in the queue will bounce.")

        @Argument(help: "The mailbox's address.")
        var address: String
        @Flag(help: "Do not ask.")
        var yes = false
        @Flag(help: "Leave the Maildir; the same owner's next mailbox takes it over.")
        var keepMail = false
        @OptionGroup var common: Common

        func run() throws {
            let home = try common.openHome()
            let address = try MailboxFacts.address(address)
            let register = try MailboxRegister(home)
            if !yes, !keepMail, let mailbox = try Mailboxes(home.mailboxes).find(address) {
                let mail = MailboxFacts.count(mailbox).map { Words.count($0, "message", "messages") } ?? "all mail"
                guard try Out.confirms("Remove \(address.text) of \(mailbox.owner) and \(mail) in it?") else { throw Failure("nothing was removed") }
            }
            guard let owner = try MailboxFacts.owner(address, register) else {
                throw Failure("there is no mailbox \(address.text): semail mailbox list shows those there are")
            }
            let deletion = try Unmaking(home).run(address, owner: owner, keepingMail: keepMail, report: StepProgress(common).note)
            if common.json {
                Out.document(.object(MailboxFacts.members(address, deletion.mailbox) + [("mailKeptAt", .text(deletion.mailKeptAt))]))
                return
            }
            let mail = deletion.mailKeptAt.map { "; its mail is still in \($0)" } ?? ", and the mail in it"
            Out.line("\(address.text) of \(deletion.mailbox.owner) is removed\(mail)")
        }
    }

    struct Container: HomeCommand {
        static let configuration = CommandConfiguration(
            abstract: "Says from which address the mailbox' container connects.",
            discussion: "Whoever connects to the outgoing server from there sends as this mailbox. Without an address, nobody does any more.")

        @Argument(help: "The mailbox's address.")
        var address: String
        @Argument(help: "The container's address on its network, such as 172.30.0.5.")
        var container: String?
        @OptionGroup var common: Common

        func run() throws {
            let address = try MailboxFacts.address(address)
            if let container, !Endpoint.isAddress(container) { throw Failure("\"\(container)\" is no IPv4 or IPv6 address") }
            try MailboxRegister(common.openHome()).setContainer(of: address, to: container)
            if common.json {
                Out.document(.object([("address", .text(address.text)), ("container", .text(container))]))
                return
            }
            Out.line(container.map { "whoever connects from \($0) sends as \(address.text)" } ?? "no container sends as \(address.text)")
        }
    }

    struct List: HomeCommand {
        static let configuration = CommandConfiguration(abstract: "Lists every mailbox.")

        @OptionGroup var common: Common

        func run() throws {
            let entries = try MailboxRegister(common.openHome()).entries()
            if common.json {
                Out.document(.object([("mailboxes", .list(entries.map { .object(MailboxFacts.members($0.address, $0.mailbox)) }))]))
                return
            }
            Table.print(["ADDRESS", "OWNER", "UID", "STATE", "MAILDIR"], entries.map { entry in
                [Cell(entry.address.text), Cell(entry.mailbox?.owner ?? "-"), Cell(entry.mailbox.map { "\($0.uid)" } ?? "-"),
                 Cell(entry.mailbox?.state.rawValue ?? "malformed"), Cell(entry.mailbox?.maildir ?? "-")]
            })
        }
    }

    struct Show: HomeCommand {
        static let configuration = CommandConfiguration(abstract: "Shows one mailbox: owner, state, messages, room.")

        @Argument(help: "The mailbox's address.")
        var address: String
        @OptionGroup var common: Common

        func run() throws {
            let home = try common.openHome()
            let address = try MailboxFacts.address(address)
            guard let mailbox = try Mailboxes(home.mailboxes).find(address) else {
                throw Failure("there is no mailbox \(address.text): semail mailbox list shows those there are")
            }
            let aliases = try MailboxRegister(home).aliases(of: address)
            let unread = MailboxFacts.usage(mailbox, "new"), read = MailboxFacts.usage(mailbox, "cur")
            let octets = unread.map { $0.octets + (read?.octets ?? 0) }
            let space = try? Space(of: mailbox.volume)
            if common.json {
                Out.document(.object(MailboxFacts.members(address, mailbox) + [
                    ("aliases", .list(aliases.map { .string($0) })),
                    ("new", unread.map { .number($0.messages) } ?? .null), ("cur", read.map { .number($0.messages) } ?? .null),
                    ("octets", octets.map { .number($0) } ?? .null),
                    ("freeOctets", space.map { .number(Int(clamping: $0.freeOctets)) } ?? .null),
                ]))
                return
            }
            let hidden = "not to be seen by this user"
            Table.facts([
                ("address", Cell(address.text)), ("owner", Cell(mailbox.owner)), ("uid", Cell("\(mailbox.uid)")),
                ("gid", Cell("\(mailbox.gid)")), ("state", Cell(mailbox.state.rawValue)), ("maildir", Cell(mailbox.maildir)),
                ("aliases", Cell(aliases.joined(separator: " "))),
                ("new", Cell(unread.map { "\($0.messages)" } ?? hidden)), ("cur", Cell(read.map { "\($0.messages)" } ?? hidden)),
                ("size", octets.map { Cell(Words.size($0), raw: "\($0)") } ?? Cell(hidden)),
                ("free", space.map { Cell(Words.size($0.freeOctets), raw: "\($0.freeOctets)") } ?? Cell(hidden)),
            ])
        }
    }
}

/// Says of each step that takes a while that it is being done, to somebody who waits at a terminal.
struct StepProgress {
    private let isShown: Bool

    init(_ common: Common) { isShown = !common.json && Out.isTerminal }

    func note(_ step: Step, _ phase: Making.Phase) {
        guard isShown, case .done(let milliseconds) = phase, milliseconds >= 5 else { return }
        Out.line("   \(step.rawValue), \(milliseconds) ms")
        Out.finish()
    }
}

enum MailboxFacts {
    /// Whose mailbox it is, or was before its removal began; nil: there is none.
    static func owner(_ address: Address, _ register: borrowing MailboxRegister) throws -> String? {
        for inner in [nil, MailboxRegister.making, MailboxRegister.leaving] {
            guard let entry = try register.entries(inner).first(where: { $0.address.key == address.key }) else { continue }
            guard let mailbox = entry.mailbox else { throw Failure("\(entry.path) makes no sense: mend it or remove it by hand") }
            return mailbox.owner
        }
        return nil
    }

    /// An address that may exist already, whatever rules hold for new ones.
    static func address(_ text: String) throws -> Address {
        guard let address = Address(text) else { throw Failure("\"\(text)\" is no address: give it whole, such as anna@example.org") }
        return Address(localPart: address.localPart.map(\.lowercased), domain: address.domain.map(\.lowercased))
    }

    static func members(_ address: Address, _ mailbox: Mailbox?) -> [(String, JSON)] {
        [
            ("address", .octets(address.bytes)), ("owner", .text(mailbox?.owner)), ("uid", mailbox.map { .number(Int($0.uid)) } ?? .null),
            ("gid", mailbox.map { .number(Int($0.gid)) } ?? .null), ("maildir", .text(mailbox?.maildir)),
            ("state", .string(mailbox?.state.rawValue ?? "malformed")),
        ]
    }

    /// Messages and octets in a directory of a Maildir; nil where this user may not look.
    static func usage(_ mailbox: Mailbox, _ inner: String) -> (messages: Int, octets: Int)? {
        guard let directory = try? Directory(mailbox.maildir).directory(inner), let names = try? directory.list() else { return nil }
        var messages = 0, octets = 0
        while let name = names.next() {
            messages += 1
            octets += (try? directory.status(name).size) ?? 0
        }
        return (messages, octets)
    }

    static func count(_ mailbox: Mailbox) -> Int? {
        guard let new = usage(mailbox, "new"), let cur = usage(mailbox, "cur") else { return nil }
        return new.messages + cur.messages
    }
}
