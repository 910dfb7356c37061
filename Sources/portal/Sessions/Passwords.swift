// Whether a password is right: asked at the socket run/auth, where wrong ones are counted and slowed. See auth-check(8).
import Program
import Unix

struct Passwords: Sendable {
    enum Verdict: Equatable, Sendable {
        case right(owner: String, isAdministrator: Bool)
        case wrong
        /// Too many were wrong lately; nobody has looked at this one.
        case slowedDown(seconds: Int)
        case unavailable
    }

    /// What auth-check takes at most.
    private static let most = 512

    let socket: String

    /// Blocks, for as long as the directory takes.
    func check(client: String, user: String, password: String) -> Verdict {
        let bytes = Array(client.utf8) + [0] + Array(user.utf8) + [0] + Array(password.utf8) + [0]
        // A NUL within would move the fields.
        guard !user.isEmpty, !password.isEmpty, bytes.count(where: { $0 == 0 }) == 3, bytes.count <= Passwords.most + client.utf8.count else { return .wrong }
        do throws(SystemError) {
            let connection = try Socket.connect(path: socket)
            Socket.setNonblocking(connection.raw)
            try IO.writeAll(connection.raw, bytes, idleMilliseconds: 5000)
            Socket.endWriting(connection.raw)
            return Passwords.verdict(try connection.readLine(limit: 1024, milliseconds: 60_000))
        } catch {
            Log.error("authentication", .text("reason", error.text))
            return .unavailable
        }
    }

    static func verdict(_ line: String) -> Verdict {
        let parts = line.split(separator: "\t", omittingEmptySubsequences: false)
        guard let answer = parts.first else { return .unavailable }
        if answer.hasPrefix("ok "), answer.count > 3 { return .right(owner: String(answer.dropFirst(3)), isAdministrator: parts.dropFirst().contains("admin")) }
        if answer == "no" { return .wrong }
        if answer.hasPrefix("slow ") { return .slowedDown(seconds: Int(answer.dropFirst(5)) ?? 60) }
        return .unavailable
    }
}

extension Descriptor {
    /// A line of a non-blocking connection; empty if it ends or takes too long before the line does.
    borrowing func readLine(limit: Int, milliseconds: Int) throws(SystemError) -> String {
        let bytes = try readToEnd(limit: limit, milliseconds: milliseconds) { $0.contains(0x0a) }
        return bytes.contains(0x0a) ? String(decoding: bytes.prefix { $0 != 0x0a }, as: UTF8.self) : ""
    }

    /// What comes on a non-blocking connection until it ends, is enough, is too much, or the time is over.
    borrowing func readToEnd(limit: Int, milliseconds: Int, isEnough: ([UInt8]) -> Bool = { _ in false }) throws(SystemError) -> [UInt8] {
        let end = Clock.monotonicMilliseconds() + milliseconds
        var bytes: [UInt8] = []
        let number = raw
        while bytes.count < limit, !isEnough(bytes), case let left = end - Clock.monotonicMilliseconds(), left > 0,
              try IO.wait(number, forWriting: false, milliseconds: left) {
            let more = try IO.readSome(number, limit: limit - bytes.count)
            if more.isEmpty { break }
            bytes += more
        }
        return bytes
    }
}
