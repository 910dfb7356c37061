// Whether a password is right: asked at the socket run/auth of those who know, who count wrong ones and take their time. See auth-check(8).
import Unix

public enum PasswordCheck {
    public enum Verdict: Equatable, Sendable {
        case right(owner: String, isAdministrator: Bool)
        case wrong
        /// Too many were wrong lately; nobody has looked at this one.
        case slowedDown(seconds: Int)
        /// Nobody can tell at the moment, and why.
        case unavailable(String)
    }

    /// `CLIENT NUL USER NUL PASSWORD NUL`, answered by one line within so many milliseconds. The fields have no NUL.
    public static func ask(_ home: Home, client: [UInt8], user: [UInt8], password: [UInt8], milliseconds: Int = 60_000) -> Verdict {
        do throws(SystemError) {
            let connection = try Socket.connect(path: home.authentication)
            Socket.setNonblocking(connection.raw)
            try IO.writeAll(connection.raw, client + [0] + user + [0] + password + [0], idleMilliseconds: 5000)
            Socket.endWriting(connection.raw)
            let answer = try IO.readWithin(connection.raw, limit: 1024, milliseconds: milliseconds) { $0.contains(0x0a) }
            // A line that was cut short says nothing.
            guard let end = answer.firstIndex(of: 0x0a) else { return .unavailable("run/auth does not answer") }
            return verdict(String(decoding: answer[..<end], as: UTF8.self))
        } catch { return .unavailable(error.text) }
    }

    /// `ok OWNER`, behind a TAB perhaps what else is known of them; `no`, `slow SECONDS` or `later REASON`.
    static func verdict(_ line: String) -> Verdict {
        let parts = line.split(separator: "\t", omittingEmptySubsequences: false)
        let words = parts[0].split(separator: " ", maxSplits: 1)
        switch words.first {
        case "ok" where words.count == 2: return .right(owner: String(words[1]), isAdministrator: parts.dropFirst().contains("admin"))
        case "no" where words.count == 1: return .wrong
        case "slow" where words.count == 2: return .slowedDown(seconds: Int(words[1]) ?? 60)
        case "later" where words.count == 2: return .unavailable(String(words[1]))
        default: return .unavailable("run/auth gives an answer that makes no sense")
        }
    }
}
