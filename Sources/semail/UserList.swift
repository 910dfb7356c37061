// semail user list: who is in the directory, with their mailboxes.
import ArgumentParser
import Control
import Directory
import Unix

extension UserCommand {
    struct List: HomeCommand {
        static let configuration = CommandConfiguration(abstract: "Lists everybody.")

        @OptionGroup var common: Common

        func run() throws {
            let home = try common.openHome()
            let store = try PeopleStore(home)
            let admins = try store.admins()
            var people: [Listed] = []
            try store.all { entry in people.append(Listed(entry, home, admins)) }
            people.sort { $0.uid < $1.uid }
            if common.json {
                Out.document(.object([("users", .list(people.map { .object($0.members) }))]))
                return
            }
            Table.print(["UID", "NAME", "MAILBOX", "MAIL ELSEWHERE", "ADMIN"], people.map { one in
                [Cell(one.uid), Cell(one.name), Cell(one.mailbox ?? "-"), Cell(one.mail.isEmpty ? "-" : one.mail.joined(separator: " ")), Cell(one.isAdmin ? "yes" : "no")]
            })
        }
    }

    private struct Listed {
        let uid, name, dn: String
        let firstName, familyName: String?
        let mail: [String]
        let mailbox: String?
        let isAdmin: Bool

        init(_ entry: DirectoryEntry, _ home: Home, _ admins: Set<String>) {
            uid = entry.text("uid") ?? ""
            dn = entry.name
            name = entry.text("cn") ?? "-"
            firstName = entry.text("givenName")
            familyName = entry.text("sn")
            mail = entry.values("mail").map { String(decoding: $0, as: UTF8.self) }
            mailbox = (try? PeopleStore.mailbox(of: uid, home)) ?? nil
            isAdmin = admins.contains(uid.lowercased()) || admins.contains(entry.name.lowercased())
        }

        var members: [(String, JSON)] {
            [("uid", .string(uid)), ("name", .string(name)), ("givenName", .text(firstName)), ("sn", .text(familyName)), ("mail", .list(mail.map { .string($0) })),
             ("mailbox", .text(mailbox)), ("isAdmin", .bool(isAdmin)), ("dn", .string(dn))]
        }
    }
}
