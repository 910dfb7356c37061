// Whose mailbox it is, where, and whether it is open: by the same files that deliveries go by.
import Control
import Mail
import Unix

struct Mailroom: ~Copyable {
    enum Found {
        case open(Answer.Person)
        /// Not open: `suspended`, `making`, `leaving`, or `none`.
        case closed(String)
    }

    /// No host has so many mailboxes in the making at once, and none has more than this in all.
    private static let mostUnsettled = 1000
    private static let mostListed = 100_000

    private let home: Home
    private let mailboxes: Mailboxes

    init(_ home: Home) throws(SystemError) {
        self.home = home
        mailboxes = try Mailboxes(home.mailboxes)
    }

    /// The mailbox of somebody by their name in the directory.
    func find(owner: String) throws(SystemError) -> Found {
        switch try mailboxes.named("~" + owner) {
        case .mailbox(let address): return try find(address)
        // The link leads to a mailbox that is suspended; or that has gone just now.
        case .closed: return .closed(unsettled { $0.owner == owner } ?? "suspended")
        case .none: return .closed(unsettled { $0.owner == owner } ?? "none")
        }
    }

    func find(_ address: Address) throws(SystemError) -> Found {
        guard let mailbox = try mailboxes.find(address) else { return .closed(unsettled(named: Mailboxes.fileName(address)) ?? "none") }
        guard mailbox.state == .active else { return .closed("suspended") }
        let person = Answer.Person(address: address.key, uid: mailbox.uid, gid: mailbox.gid, home: mailbox.volume, maildir: mailbox.maildir)
        // Courier would become root for a uid of 0.
        return mailbox.uid > 0 && mailbox.gid > 0 && person.isPlain ? .open(person) : .closed("none")
    }

    /// Every open mailbox.
    func list() throws(SystemError) -> [Answer.Person] {
        let listing = try Directory(home.mailboxes).list()
        var people: [Answer.Person] = []
        while people.count < Mailroom.mostListed, let name = listing.next() {
            guard let address = Address(Array(name.utf8)), case .open(let person)? = try? find(address) else { continue }
            people.append(person)
        }
        return people
    }

    /// `making` or `leaving`, if a mailbox that is either is this one.
    private func unsettled(_ isIt: (Mailbox) -> Bool) -> String? {
        for (inner, state) in Mailroom.states {
            guard let directory = try? Directory(home.mailboxes + inner), let listing = try? directory.list() else { continue }
            var seen = 0
            while seen < Mailroom.mostUnsettled, let name = listing.next() {
                seen += 1
                if let bytes = try? directory.contents(name, limit: 65536), let mailbox = Mailbox(bytes), isIt(mailbox) { return state }
            }
        }
        return nil
    }

    private func unsettled(named name: String?) -> String? {
        guard let name else { return nil }
        return Mailroom.states.first { (try? Directory(searching: home.mailboxes + $0.inner).status(name)) != nil }?.state
    }

    private static let states = [(inner: "/.making", state: "making"), (inner: "/.leaving", state: "leaving")]
}
