// Those who deliver: who they are, and how they are started.
import Program
import Unix

struct Others {
    /// The user of remote-relay; nil: ours.
    let relay: String?
    /// The user of dkim-sign; nil: ours.
    let signer: String?

    /// Becomes `user`, and keeps the right to start them and the users of mailboxes.
    func become(_ user: String?, mailboxes: ClosedRange<UInt32>) throws {
        guard let user else { return }
        let others = try [relay, signer].compactMap { $0 }.map { try Program.user($0) }
        try Become.user(
            Program.user(user), startingAs: [mailboxes] + others.map { $0.uid...$0.uid }, gids: [mailboxes] + others.map { $0.gid...$0.gid })
    }

    /// One of them as a template, beside this program or in PATH.
    func start(_ program: String, _ user: String?, _ environment: Environment) throws -> Template {
        try Template(program: Process.find(program, environment), arguments: [program] + (user.map { ["-u", $0] } ?? []), environment: environment)
    }
}
