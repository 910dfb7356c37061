// One question: read, decided, logged.
import Program
import Unix

struct Question {
    /// Octets that a line of log and a file's name can take escaped, and nothing else is done with.
    let client: [UInt8]
    let user: [UInt8]
    private let password: [UInt8]

    /// The checkpassword interface has room for no more.
    private static let most = 512

    /// nil: it is none.
    static func read() throws -> Question? {
        let end = Clock.monotonicMilliseconds() + 10_000
        var bytes: [UInt8] = []
        while bytes.count(where: { $0 == 0 }) < 3, bytes.count < 1024 {
            guard case let left = end - Clock.monotonicMilliseconds(), left > 0, try IO.wait(Descriptor.standardInput, forWriting: false, milliseconds: left) else { return nil }
            let more = try IO.readSome(Descriptor.standardInput, limit: 1024 - bytes.count)
            if more.isEmpty { break }
            bytes += more
        }
        let parts = bytes.split(separator: 0, omittingEmptySubsequences: false).map { Array($0) }
        guard parts.count == 4, parts[3].isEmpty else { return nil }
        return Question(client: parts[0], user: parts[1], password: parts[2])
    }

    func answered(by checker: Checker, _ guesses: borrowing Guesses) throws -> String {
        let counted = try guesses.begin(client, user)
        guard case .ask(let delaySeconds, let failures) = counted else {
            checker.end()
            guard case .refuse(let seconds) = counted else { return "no" }
            Log.info("slowed", .bytes("client", client), .bytes("user", user), .count("seconds", seconds))
            return "slow \(seconds)"
        }
        Process.sleep(milliseconds: delaySeconds * 1000)
        let outcome: Checker.Outcome
        // Whoever is asked must not have to decide about nothing: some servers let that in.
        if user.isEmpty || password.isEmpty || user.count + password.count + 3 > Question.most {
            checker.end()
            outcome = .refused
        } else {
            outcome = checker.ask(user + [0] + password + [0, 0])
        }
        switch outcome {
        case .accepted(let owner):
            try guesses.wasRight(client, user)
            return "ok \(owner)"
        case .refused:
            Log.info("refused", .bytes("client", client), .bytes("user", user), .count("failures", failures + 1))
            return "no"
        case .unavailable(let reason):
            try guesses.wasUnanswered(client, user)
            Log.error("unavailable", .bytes("client", client), .bytes("user", user), .text("reason", reason))
            return "later \(reason)"
        }
    }
}
