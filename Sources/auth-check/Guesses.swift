// How often was guessed wrong, over all sessions: one small file for each client, one for each user, changed under its lock. Which
// they are can be read off with ls; removing one forgives. An attempt counts as wrong before it is asked about, so that many at once
// see each other, and is taken back if it was right.
import Program
import Unix

struct Guesses: ~Copyable {
    static let installed = "/var/lib/semail/run/guesses"

    static func directory(_ environment: Environment) -> String { environment["SEMAIL_HOME"].map { $0 + "/run/guesses" } ?? installed }

    struct Limits {
        /// 0: no limit.
        let wrong: Int
        /// A wrong password counts for so long.
        let seconds: Int
    }

    enum Verdict: Equatable {
        case ask(delaySeconds: Int, failures: Int)
        case refuse(seconds: Int)
    }

    /// Files of counts; what a flood of made-up names leaves behind is bounded.
    private static let most = 10_000
    /// An address that a user came from stays known for so long.
    private static let knownSeconds = 90 * 86400

    private let directory: Directory
    private let limits: Limits

    var path: String { directory.path }

    init(_ path: String, _ limits: Limits) throws(SystemError) {
        directory = try Directory(path)
        self.limits = limits
    }

    /// Counts the attempt as wrong, unless there were too many: then it counts as nothing, or one who tries on would never get in again.
    func begin(_ client: [UInt8], _ user: [UInt8]) throws(SystemError) -> Verdict {
        guard limits.wrong > 0 else { return .ask(delaySeconds: 0, failures: 0) }
        let address = ClientName(client)
        var failures = 0
        if let address {
            switch try charge("address-" + address.text) {
            case .refuse(let seconds): return .refuse(seconds: seconds)
            case .ask(_, let found): failures = found
            }
        }
        // Strangers that guess a user's password must not keep the user out: where they have come from before, only the address counts.
        let isKnown = hasComeFrom(address, user)
        switch try charge("user-" + ClientName.fileName(user)) {
        case .refuse(let seconds) where !isKnown:
            if let address { try change("address-" + address.text) { $0.takeBack() } }
            return .refuse(seconds: seconds)
        case .ask(_, let found) where !isKnown: failures = max(failures, found)
        default: break
        }
        return .ask(delaySeconds: delaySeconds(failures), failures: failures)
    }

    /// The user is who they say: their count begins anew. Of the address half is forgotten: one right password must not pay for guessing others'.
    func wasRight(_ client: [UInt8], _ user: [UInt8]) throws(SystemError) {
        guard limits.wrong > 0 else { return }
        try change("user-" + ClientName.fileName(user)) { $0.clear() }
        guard let address = ClientName(client) else { return }
        try change("address-" + address.text) { $0.takeBack(); $0.halve() }
        try remember(address, user)
    }

    /// Nobody has said that it was wrong.
    func wasUnanswered(_ client: [UInt8], _ user: [UInt8]) throws(SystemError) {
        guard limits.wrong > 0 else { return }
        try change("user-" + ClientName.fileName(user)) { $0.takeBack() }
        if let address = ClientName(client) { try change("address-" + address.text) { $0.takeBack() } }
    }

    /// From a quarter of the limit on: 1, 2, 4, 8 seconds.
    private func delaySeconds(_ failures: Int) -> Int {
        let beyond = failures - max(1, limits.wrong / 4)
        return beyond < 0 ? 0 : 1 << min(3, beyond)
    }

    private func charge(_ name: String) throws(SystemError) -> Verdict {
        let now = Clock.seconds(), limits = self.limits
        var verdict = Verdict.ask(delaySeconds: 0, failures: 0)
        try change(name) { count in
            let failures = count.failures(now)
            if failures >= limits.wrong { verdict = .refuse(seconds: count.secondsUntilBelow(limits.wrong, now)); return }
            count.add()
            verdict = .ask(delaySeconds: 0, failures: failures)
        }
        return verdict
    }

    // MARK: The files

    private func change(_ name: String, _ body: (inout GuessCount) -> Void) throws(SystemError) {
        let file = try open(name)
        let text = try IO.readAll(file.raw, limit: 128)
        var count = GuessCount(text, windowSeconds: limits.seconds, now: Clock.seconds())
        body(&count)
        try IO.write(file.raw, count.encoded, at: 0)
        if text.isEmpty, Random.below(64) == 0 { try sweep() }
    }

    private func open(_ name: String) throws(SystemError) -> Descriptor {
        let file = try directory.open(name, .readWriteOrCreate)
        // Another process holds it for some microseconds.
        while !Process.lock(file) { Process.sleep(milliseconds: 1) }
        return file
    }

    /// The last four addresses that a user came from with the right password.
    private func hasComeFrom(_ address: ClientName?, _ user: [UInt8]) -> Bool {
        guard let address else { return false }
        return (try? directory.contents("known-" + ClientName.fileName(user), limit: 512))?.split(separator: 0x0a).contains { $0.elementsEqual(address.text.utf8) } ?? false
    }

    private func remember(_ address: ClientName, _ user: [UInt8]) throws(SystemError) {
        let file = try open("known-" + ClientName.fileName(user))
        var lines = try IO.readAll(file.raw, limit: 512).split(separator: 0x0a).map { Array($0) }.filter { $0 != Array(address.text.utf8) }
        lines.insert(Array(address.text.utf8), at: 0)
        // Overwritten in place: of one length always.
        var text: [UInt8] = []
        for line in lines.prefix(4) { text += line + [0x0a] }
        try IO.write(file.raw, text + [UInt8](repeating: 0x0a, count: max(0, 512 - text.count)), at: 0)
    }

    /// Removes what counts no more; and, when there are too many, what has not counted for longest.
    private func sweep() throws(SystemError) {
        let now = Clock.seconds()
        var kept: [(modified: Int, name: String)] = []
        let listing = try directory.list()
        while let name = listing.next() {
            guard let modified = (try? directory.status(name))?.modified else { continue }
            let isKnown = name.hasPrefix("known-")
            if now - modified > (isKnown ? Guesses.knownSeconds : 2 * limits.seconds) { try? directory.remove(name) }
            else if !isKnown { kept.append((modified, name)) }
        }
        guard kept.count > Guesses.most else { return }
        kept.sort { $0.modified < $1.modified }
        for (_, name) in kept.prefix(kept.count - Guesses.most) { try? directory.remove(name) }
    }
}
