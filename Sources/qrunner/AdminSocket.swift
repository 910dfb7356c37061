// The socket by which `semail queue` asks; one line in, one line out. Only root and qrunner's own user can reach it.
import Program
import Unix

final class AdminSocket {
    private let listener: Listener

    init(_ path: String) throws(SystemError) {
        listener = try Listener(path: path, backlog: 16)
        try Path.setMode(path, 0o600)
    }

    var descriptor: Int32 { listener.descriptor.raw }

    /// Answers one request by what `obey` says to its words.
    func serve(_ obey: ([String]) -> String) {
        guard let peer = try? listener.acceptLocal() else { return }
        let connection = Descriptor(owning: peer.connection)
        guard peer.uid == 0 || peer.uid == User.current.uid else { return }
        // One who connects and says nothing must not hold up the queue.
        guard (try? IO.wait(connection.raw, forWriting: false, milliseconds: 500)) == true else { return }
        var buffer = [UInt8](repeating: 0, count: 256)
        let count = buffer.withUnsafeMutableBytes { (try? IO.read(connection.raw, into: $0)) ?? 0 }
        let words = String(decoding: buffer[..<count].prefix { $0 != 10 }, as: UTF8.self).split(separator: " ").map(String.init)
        try? IO.writeAll(connection.raw, Array((obey(words) + "\n").utf8))
    }
}
