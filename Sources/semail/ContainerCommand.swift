// semail container: the containers of mailboxes, made, looked at, started and stopped.
import ArgumentParser
import Control
import Mail
import Provisioning
import Unix

struct ContainerCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "container", abstract: "Makes, shows, starts and stops the containers of mailboxes.",
        subcommands: [List.self, Create.self, Start.self, Stop.self, Restart.self, Rebuild.self])

    struct List: HomeCommand {
        static let configuration = CommandConfiguration(abstract: "Lists every container.")

        @OptionGroup var common: Common

        func run() throws {
            let home = try common.openHome()
            let containers = try ContainerFacts.all(home)
            if common.json { Out.document(.object([("containers", .list(containers.map { .object($0.members) }))])); return }
            Table.print(["OWNER", "STATE", "SINCE", "CONTAINER", "ADDRESS"], containers.map { facts in
                let age = facts.since == 0 ? Cell("-", raw: "") : Cell(Words.duration(Clock.seconds() - facts.since), raw: Words.time(facts.since))
                return [Cell(facts.owner), Cell(facts.state), age, Cell(facts.container ?? "-"), Cell(facts.address ?? "-")]
            })
        }
    }

    struct Create: HomeCommand {
        static let configuration = CommandConfiguration(
            abstract: "Makes the container of a mailbox that has none.",
            discussion: "Given again, it completes what was interrupted, applies the limits that the settings have by now, and otherwise changes nothing.")

        @Argument(help: "The mailbox' owner.")
        var owner: String
        @OptionGroup var common: Common

        func run() throws {
            let home = try common.openHome()
            let engine = try Engine(home)
            let lock = try OwnerLock(home, try Name.owner(owner))
            let (address, mailbox) = try MailboxRegister(home).addContainer(owner: owner)
            try engine.prepare()
            try engine.ensure(mailbox, address)
            try lock.release()
            try ContainerFacts.tell(owner, home, engine, common)
        }
    }

    struct Start: HomeCommand {
        static let configuration = CommandConfiguration(abstract: "Starts a container; from now on it starts with the host.")

        @Argument(help: "Whose it is.")
        var owner: String
        @OptionGroup var common: Common

        func run() throws { try ContainerFacts.change(owner, common, isStopped: false) { try $0.start(owner: $1) } }
    }

    struct Stop: HomeCommand {
        static let configuration = CommandConfiguration(abstract: "Stops a container until it is started again.")

        @Argument(help: "Whose it is.")
        var owner: String
        @OptionGroup var common: Common

        func run() throws { try ContainerFacts.change(owner, common, isStopped: true) { try $0.stop(owner: $1) } }
    }

    struct Restart: HomeCommand {
        static let configuration = CommandConfiguration(abstract: "Stops a container and starts it.")

        @Argument(help: "Whose it is.")
        var owner: String
        @OptionGroup var common: Common

        func run() throws { try ContainerFacts.change(owner, common, isStopped: false) { try $0.restart(owner: $1) } }
    }

    struct Rebuild: HomeCommand {
        static let configuration = CommandConfiguration(
            abstract: "Makes a container anew from the image.",
            discussion: "What was installed or kept in it is lost; the Maildir, the keys and the container's own key stay.")

        @Argument(help: "Whose it is.")
        var owner: String
        @Flag(help: "Do not ask.")
        var yes = false
        @OptionGroup var common: Common

        func run() throws {
            let home = try common.openHome()
            let engine = try Engine(home)
            if !yes {
                guard try Out.confirms("Make the container of \(owner) anew? All in it but the Maildir is lost.", "this loses what is in the container: say --yes if you mean it") else {
                    throw Failure("nothing was changed")
                }
            }
            let lock = try OwnerLock(home, try Name.owner(owner))
            let (address, mailbox) = try MailboxRegister(home).addContainer(owner: owner)
            try engine.prepare()
            try engine.rebuild(mailbox, address)
            try lock.release()
            try ContainerFacts.tell(owner, home, engine, common)
        }
    }
}

/// A container, or the place where one should be.
struct ContainerFacts {
    let owner: String
    /// The engine's word, or `missing`.
    let state: String
    let since: Int
    let container: String?
    /// nil: its mailbox is gone.
    let address: String?

    var members: [(String, JSON)] {
        [
            ("owner", .string(owner)), ("state", .string(state)), ("since", .time(since == 0 ? nil : since)), ("container", .text(container)), ("address", .text(address)),
        ]
    }

    static func noMailbox(_ owner: String) -> Failure { Failure("\(owner) has no mailbox: semail mailbox list shows who has") }

    /// Of every mailbox that should have one, and those whose mailbox is gone; by owner.
    static func all(_ home: Home) throws -> [ContainerFacts] {
        var states = try Engine(home).states()
        var found: [ContainerFacts] = []
        for entry in try MailboxRegister(home).entries() {
            guard let mailbox = entry.mailbox else { continue }
            let state = states.removeValue(forKey: mailbox.owner)
            guard state != nil || mailbox.keep.container != nil else { continue }
            found.append(ContainerFacts(owner: mailbox.owner, state: state?.word ?? "missing", since: state?.since ?? 0, container: mailbox.keep.container, address: entry.address.text))
        }
        found += states.map { ContainerFacts(owner: $0, state: $1.word, since: $1.since, container: nil, address: nil) }
        return found.sorted { $0.owner < $1.owner }
    }

    /// The wish first: provision goes by it.
    static func change(_ owner: String, _ common: Common, isStopped: Bool, _ step: (Engine, String) throws -> Void) throws {
        let home = try common.openHome()
        let engine = try Engine(home), register = try MailboxRegister(home)
        let lock = try OwnerLock(home, try Name.owner(owner))
        guard let (listed, inner) = try register.mailbox(of: owner), inner != MailboxRegister.leaving else { throw noMailbox(owner) }
        try register.change(listed.address) { $0.keep.isStopped = isStopped }
        try step(engine, owner)
        try lock.release()
        try tell(owner, home, engine, common)
    }

    static func tell(_ owner: String, _ home: Home, _ engine: Engine, _ common: Common) throws {
        guard let facts = try all(home).first(where: { $0.owner == owner }) else { throw noMailbox(owner) }
        if common.json { Out.document(.object(facts.members)); return }
        Out.line("the container of \(owner)\(facts.container.map { " at \($0)" } ?? "") is \(facts.state)")
    }
}
