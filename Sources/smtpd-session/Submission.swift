// What the outgoing server knows about its clients: who is at the other end, whether a password is right, how much a mailbox has sent.
import Control
import Mail
import Program
import SMTP
import Unix

enum Submission {
    /// Who speaks, by what the kernel says of the connection and nothing the client says. nobody: must authenticate.
    static func submitter(_ environment: Environment, _ resolver: borrowing Resolver, mailboxUids: ClosedRange<UInt32>) -> Submitter {
        do throws(SystemError) {
            switch environment["PROTO"] {
            case nil: return .host
            case "UNIX":
                // A mailbox' own processes are that mailbox, or nobody when it is suspended or gone; all others are the host's.
                guard let uid = environment["UNIXREMOTEEUID"].flatMap({ UInt32($0) }) else { return .nobody }
                switch try resolver.named("#\(uid)") {
                case .mailbox(let address): return .mailbox(address)
                case .closed: return .nobody
                case .none: return mailboxUids.contains(uid) ? .nobody : .host
                }
            default:
                let address = environment["TCPREMOTEIP"] ?? environment["TCP6REMOTEIP"] ?? ""
                if address.hasPrefix("127.") || address == "::1" { return .host }
                if case .mailbox(let address) = try resolver.named("[\(address)]") { return .mailbox(address) }
                return .nobody
            }
        } catch {
            Log.error("lookup", .text("reason", error.text))
            return .nobody
        }
    }

    /// Whose password it is, as those say who know passwords.
    static func authenticate(_ home: Home, client: [UInt8], user: [UInt8], password: [UInt8], _ resolver: borrowing Resolver) -> Authentication {
        switch PasswordCheck.ask(home, client: client, user: user, password: password) {
        case .wrong: return .refused
        case .slowedDown: return .slowedDown
        case .unavailable(let reason):
            Log.error("authentication", .text("reason", reason))
            return .unavailable
        case .right(let owner, _):
            do throws(SystemError) {
                if case .mailbox(let mailbox) = try resolver.named("~" + owner) { return .accepted(mailbox) }
                Log.info("without-mailbox", .text("owner", owner))
                return .refused
            } catch { return .unavailable }
        }
    }
}

/// How much each mailbox has sent within the last hour: one small file each, changed under its lock. A window that slides: of the
/// hour before counts the share that is still within sixty minutes.
struct Budgets {
    let directory: String
    /// 0: no limit.
    let messagesPerHour: Int
    let recipientsPerHour: Int

    enum Charge { case taken, exceeded }

    func charge(_ account: Address, recipients: Int) throws(SystemError) -> Charge {
        if messagesPerHour == 0 && recipientsPerHour == 0 { return .taken }
        guard let name = Mailboxes.fileName(account) else { return .taken }
        let file = try Directory(searching: directory).open(name, .readWriteOrCreate)
        // Another session of the same mailbox holds it for some microseconds.
        while !Process.lock(file) { Process.sleep(milliseconds: 1) }
        let now = Clock.seconds()
        let hour = now / 3600
        var counts = Budgets.read(try IO.readAll(file.raw, limit: 128))
        if counts[0] != hour { counts = counts[0] == hour - 1 ? [hour, 0, 0, counts[1], counts[2]] : [hour, 0, 0, 0, 0] }
        let left = 3600 - now % 3600
        counts[1] += 1
        counts[2] += recipients
        if messagesPerHour > 0, counts[1] + counts[3] * left / 3600 > messagesPerHour { return .exceeded }
        if recipientsPerHour > 0, counts[2] + counts[4] * left / 3600 > recipientsPerHour { return .exceeded }
        try IO.write(file.raw, Budgets.text(counts), at: 0)
        return .taken
    }

    /// Hour since 1970; messages and recipients in it; messages and recipients in the hour before. What makes no sense counts as nothing.
    static func read(_ text: [UInt8]) -> [Int] {
        let nothing = [0, 0, 0, 0, 0]
        guard text.count == nothing.count * (digits + 1) else { return nothing }
        var counts: [Int] = []
        var number = 0
        for (place, octet) in text.enumerated() {
            let isEnd = place % (digits + 1) == digits
            if isEnd { counts.append(number) }
            number = isEnd ? 0 : number * 10 + Int(octet) - 0x30
            guard isEnd ? octet == 0x20 || octet == 0x0a : 0x30...0x39 ~= octet else { return nothing }
        }
        return counts.allSatisfy { $0 <= 1_000_000_000 } ? counts : nothing
    }

    /// Every number of one width, so that a file is overwritten in place.
    static func text(_ counts: [Int]) -> [UInt8] {
        var text: [UInt8] = []
        for count in counts {
            var divisor = 1_000_000_000
            while divisor > 0 {
                text.append(UInt8(0x30 + count / divisor % 10))
                divisor /= 10
            }
            text.append(0x20)
        }
        text[text.count - 1] = 0x0a
        return text
    }

    private static let digits = 10
}
