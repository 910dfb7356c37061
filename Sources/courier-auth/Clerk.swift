// Decides about a request.
import Control
import Mail
import Program
import Unix

struct Clerk: ~Copyable {
    /// Milliseconds; Courier waits 30 seconds for us.
    private static let patience = 28_000

    private let home: Home
    private let room: Mailroom

    init(_ home: Home) throws(SystemError) {
        self.home = home
        room = try Mailroom(home)
    }

    func answer(_ request: Request) -> Answer {
        do throws(SystemError) {
            switch request {
            case .login(let service, let user, let password, let client): return try login(service, user, password, client)
            case .find(let service, let user): return try find(service, user)
            case .list: return .people(try room.list())
            case .refused: return .no
            case .malformed:
                Log.error("malformed", .text("reason", "not a request of Courier's"))
                return .later
            }
        } catch {
            Log.error("lookup", .text("reason", error.text))
            return .later
        }
    }

    private func login(_ service: [UInt8], _ user: [UInt8], _ password: [UInt8], _ client: [UInt8]) throws(SystemError) -> Answer {
        switch PasswordCheck.ask(home, client: client, user: user, password: password, milliseconds: Clerk.patience) {
        case .wrong:
            Log.info("refused", .bytes("service", service), .bytes("client", client), .bytes("user", user))
            return .no
        case .slowedDown: return later("too many wrong passwords", service, user, client)
        case .unavailable(let reason): return later(reason, service, user, client)
        case .right(let owner, _):
            let found = try room.find(owner: owner)
            switch found {
            case .open: Log.info("admitted", .bytes("service", service), .bytes("client", client), .text("owner", owner))
            case .closed(let why): Log.info("closed", .bytes("service", service), .bytes("client", client), .text("owner", owner), .text("because", why))
            }
            return Clerk.answer(found, service, user)
        }
    }

    private func later(_ reason: String, _ service: [UInt8], _ user: [UInt8], _ client: [UInt8]) -> Answer {
        Log.error("unavailable", .bytes("service", service), .bytes("client", client), .bytes("user", user), .text("reason", reason))
        return .later
    }

    /// The name is one that was signed in with: an address, or the directory's.
    private func find(_ service: [UInt8], _ user: [UInt8]) throws(SystemError) -> Answer {
        if user.contains(0x40), let address = Address(user) { return Clerk.answer(try room.find(address), service, user) }
        // Directories do not tell capitals from small letters; names of files do.
        let owner = String(decoding: user, as: UTF8.self)
        var found = try room.find(owner: owner)
        if case .closed("none") = found { found = try room.find(owner: String(decoding: user.map(\.lowercased), as: UTF8.self)) }
        return Clerk.answer(found, service, user)
    }

    private static func answer(_ found: Mailroom.Found, _ service: [UInt8], _ user: [UInt8]) -> Answer {
        switch found {
        case .open(let person): return .person(person)
        case .closed(let why):
            if String(decoding: service, as: UTF8.self) == "webmail" { return .person(.closed(user.filter { $0 > 0x20 && $0 < 0x7f }, why)) }
            // Whoever has no mailbox does not get one by waiting.
            return why == "none" ? .no : .later
        }
    }
}
