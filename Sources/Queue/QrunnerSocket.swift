// The other end of qrunner's socket: one line asked, one line answered.
import Unix

public enum QrunnerSocket {
    public enum Answer: Equatable, Sendable {
        /// `ok`, or a sentence that says why not.
        case said(String)
        /// Nobody listens.
        case notRunning
        /// It has not answered for so long.
        case silent(seconds: Int)
        /// It hung up: it answers root and its own user.
        case unheard
    }

    private static let waitSeconds = 30

    /// `line`: `flush`, or an order and the id of a message.
    public static func ask(_ line: String, path: String) throws(SystemError) -> Answer {
        let connection: Descriptor
        do throws(SystemError) { connection = try Socket.connect(path: path) } catch {
            // No socket, or one that nobody listens on any more.
            if error.isMissing || error.isRefused { return .notRunning }
            throw error
        }
        do throws(SystemError) { try IO.writeAll(connection.raw, Array((line + "\n").utf8)) } catch { return .unheard }
        guard try IO.wait(connection.raw, forWriting: false, milliseconds: waitSeconds * 1000) else { return .silent(seconds: waitSeconds) }
        guard let answer = try? IO.readSome(connection.raw, limit: 4096), !answer.isEmpty else { return .unheard }
        return .said(String(decoding: answer.prefix { $0 != 10 }, as: UTF8.self))
    }
}
