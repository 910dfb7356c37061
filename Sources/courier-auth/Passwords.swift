// Those who know passwords, at the socket run/auth: one question, one answer. They count who guesses, and take their time.
import Control
import Program
import Unix

enum Passwords {
    enum Verdict {
        case right(owner: String)
        case wrong
        /// Too many were wrong lately, or nobody can tell.
        case unknown(String)
    }

    /// Courier waits 30 seconds for us.
    private static let milliseconds = 28_000

    /// `CLIENT NUL USER NUL PASSWORD NUL`, answered by `ok OWNER`, `no`, `slow SECONDS` or `later REASON`.
    static func ask(_ home: Home, client: [UInt8], user: [UInt8], password: [UInt8]) -> Verdict {
        let answer: [UInt8]
        do throws(SystemError) {
            let connection = try Socket.connect(path: home.authentication)
            Socket.setNonblocking(connection.raw)
            try IO.writeAll(connection.raw, client + [0] + user + [0] + password + [0], idleMilliseconds: 5000)
            Socket.endWriting(connection.raw)
            answer = try readLine(connection)
        } catch {
            return .unknown(error.text)
        }
        let words = String(decoding: answer, as: UTF8.self).split(separator: " ", maxSplits: 1)
        switch words.first {
        // Behind the owner and a TAB stands what else is known of them.
        case "ok" where words.count == 2: return .right(owner: String(words[1].prefix { $0 != "\t" }))
        case "no" where words.count == 1: return .wrong
        case "slow" where words.count == 2: return .unknown("too many wrong passwords")
        case "later" where words.count == 2: return .unknown(String(words[1]))
        default: return .unknown("run/auth does not answer")
        }
    }

    private static func readLine(_ connection: borrowing Descriptor) throws(SystemError) -> [UInt8] {
        let end = Clock.monotonicMilliseconds() + milliseconds
        let raw = connection.raw
        var line: [UInt8] = []
        while line.count < 512, !line.contains(0x0a), case let left = end - Clock.monotonicMilliseconds(), left > 0,
              try IO.wait(raw, forWriting: false, milliseconds: left) {
            let more = try IO.readSome(raw, limit: 512)
            if more.isEmpty { break }
            line += more
        }
        // A line that was cut short says nothing.
        return line.contains(0x0a) ? Array(line.prefix { $0 != 0x0a }) : []
    }
}
