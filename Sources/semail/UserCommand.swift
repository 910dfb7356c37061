// semail user: the people of the directory, added, given passwords, removed. Whose uid is here may have a mailbox of that owner.
import ArgumentParser
import Control
import Provisioning
import Unix

struct UserCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "user", abstract: "Adds, shows and removes people in the directory.",
        subcommands: [Add.self, Import.self, List.self, Passwd.self, Admin.self, Delete.self])

    struct Add: HomeCommand {
        static let configuration = CommandConfiguration(
            abstract: "Adds a person.", discussion: "At a terminal it asks for what is not given: first name, name, uid, password.")

        @Argument(help: "The person's uid, which is also the owner's name of their mailbox.")
        var uid: String?
        @Option(help: "The first name.")
        var firstName: String?
        @Option(help: "The family name.")
        var name: String?
        @Option(help: ArgumentHelp("An address that the person has elsewhere.", valueName: "address"))
        var mail: String?
        @OptionGroup var password: PasswordOptions
        @OptionGroup var common: Common

        func run() throws {
            let home = try common.openHome()
            let asks = IO.isTerminal(Descriptor.standardInput) && password.file != "-"
            var firstName = firstName, name = name, uid = uid
            if asks {
                if firstName == nil { firstName = try Asking.line("First name") }
                if name == nil { name = try Asking.line("Name") }
                if uid == nil { uid = try Asking.line("Uid", suggested: Person.suggestedUid(firstName ?? "", name ?? "")) }
            }
            guard let uid, !uid.isEmpty else { throw Failure("the uid is missing: semail user add UID --first-name NAME --name NAME") }
            guard let name, !name.isEmpty else { throw Failure("the name is missing: give it with --name") }
            let fields = [("givenName", firstName ?? ""), ("sn", name), ("mail", mail ?? "")].filter { !$0.1.isEmpty }
            let person = try Person.checked(uid: uid, fields.map { ($0.0, [$0.1]) })

            let store = try PeopleStore(home)
            if let there = try store.find(person.uid) { throw Failure("\(person.uid) is in the directory already: \(there.name)") }
            let secret = try password.read(of: person.uid, asks: asks)
            try store.add(person)
            if let secret { try store.setPassword(of: person.uid, secret.text) }
            if common.json {
                Out.document(.object([("uid", .string(person.uid)), ("dn", .string(store.name(person.uid))), ("password", .text(secret?.shown))]))
                return
            }
            Out.line("\(person.uid): \(store.name(person.uid))")
            if let shown = secret?.shown { Out.line("password: \(shown)") }
            if secret == nil { Out.line("without a password nobody can sign in; semail user passwd \(person.uid) sets one") }
        }
    }

    struct Passwd: HomeCommand {
        static let configuration = CommandConfiguration(abstract: "Gives a person a new password.", discussion: "At a terminal it asks for it twice.")

        @Argument(help: "The person's uid.")
        var uid: String
        @OptionGroup var password: PasswordOptions
        @OptionGroup var common: Common

        func run() throws {
            let store = try PeopleStore(common.openHome())
            let entry = try store.require(uid)
            guard let secret = try password.read(of: uid, asks: IO.isTerminal(Descriptor.standardInput)) else {
                throw Failure("no password is given: --password-file FILE (- for standard input) has it, or --generate makes one")
            }
            try store.setPassword(of: entry, secret.text)
            if common.json {
                Out.document(.object([("uid", .string(uid)), ("dn", .string(entry.name)), ("password", .text(secret.shown))]))
                return
            }
            Out.line("\(uid) has a new password\(secret.shown.map { ": " + $0 } ?? "")")
        }
    }

    struct Admin: HomeCommand {
        static let configuration = CommandConfiguration(
            abstract: "Makes a person an administrator of the portal, or one no longer.",
            discussion: "Administrators are the members of the entry that the setting ldap-admin-group names.")

        @Argument(help: "The person's uid.")
        var uid: String
        @Flag(help: "No administrator any longer.")
        var revoke = false
        @OptionGroup var common: Common

        func run() throws {
            let store = try PeopleStore(common.openHome())
            let entry = try store.require(uid)
            let isNew = try revoke ? store.removeAdmin(entry) : store.makeAdmin(entry)
            if common.json {
                Out.document(.object([("uid", .string(uid)), ("dn", .string(entry.name)), ("isAdmin", .bool(!revoke)), ("isNew", .bool(isNew))]))
                return
            }
            Out.line("\(uid) is \(revoke ? "no administrator" : "an administrator")\(isNew ? ", from the next time they sign in" : ", as before")")
        }
    }

    struct Delete: HomeCommand {
        static let configuration = CommandConfiguration(
            abstract: "Removes a person.", discussion: "Who still has a mailbox is not removed: remove that first, with semail mailbox delete.")

        @Argument(help: "The person's uid.")
        var uid: String
        @Flag(help: "Do not ask.")
        var yes = false
        @OptionGroup var common: Common

        func run() throws {
            let home = try common.openHome()
            let store = try PeopleStore(home)
            let entry = try store.require(uid)
            // Whoever got this uid next would get the mailbox with it.
            for owner in entry.values("uid").map({ String(decoding: $0, as: UTF8.self) }) {
                // Also one that is being made, or unmade.
                guard let address = try MailboxRegister(home).mailbox(of: owner)?.listed.address.text else { continue }
                throw Failure("\(uid) still has the mailbox \(address), which the next person with this uid would get: semail mailbox delete \(address) removes it first")
            }
            if !yes {
                guard IO.isTerminal(Descriptor.standardInput) else { throw Failure("this removes \(entry.name): say --yes if you mean it") }
                guard try Out.confirms("Remove \(entry.text("cn") ?? uid), \(entry.name)?") else { throw Failure("nobody was removed") }
            }
            let wasAdmin = try store.remove(entry)
            if common.json {
                Out.document(.object([("uid", .string(uid)), ("dn", .string(entry.name)), ("wasAdmin", .bool(wasAdmin))]))
                return
            }
            Out.line("\(uid) is removed\(wasAdmin ? ", and is no administrator any longer" : "")")
        }
    }
}
