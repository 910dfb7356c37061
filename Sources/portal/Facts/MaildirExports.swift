// What is in a Maildir. The portal cannot look there; the service at run/export can, and hands out counts, or all of it as tar or mbox.
import Hummingbird
import NIOCore
import Program
import Unix

struct MaildirExports: Sendable {
    /// What the service answers to `list`.
    struct Count: Sendable, Equatable {
        let new: Int
        let read: Int
        /// Seconds since 1970 of the newest; nil: there is none.
        let newest: Int?
        let octets: Int

        init?(_ text: String) {
            var values: [String: Int] = [:]
            for line in text.split(whereSeparator: \.isNewline) {
                let words = line.split(separator: " ")
                if words.count == 2, let number = Int(words[1]) { values[String(words[0])] = number }
            }
            guard let new = values["new"], let read = values["cur"] else { return nil }
            self.new = new
            self.read = read
            newest = values["newest"].flatMap { $0 > 0 ? $0 : nil }
            octets = values["octets"] ?? 0
        }
    }

    enum Form: String, Sendable {
        case tar, mbox

        var contentType: String {
            switch self {
            case .tar: "application/x-tar"
            case .mbox: "application/mbox"
            }
        }
    }

    private static let pieceOctets = 65536

    let socket: String

    /// Blocks. nil: it cannot be told now.
    func count(of owner: String) -> Count? {
        do throws(SystemError) {
            let connection = try ask("list \(owner)\n")
            return Count(String(decoding: try IO.readWithin(connection.raw, limit: 4096, milliseconds: 5000), as: UTF8.self))
        } catch {
            Log.error("not-counted", .text("owner", owner), .text("reason", error.text))
            return nil
        }
    }

    /// Blocks. All of it, to be read piece by piece.
    func open(_ form: Form, of owner: String) throws(SystemError) -> Download { Download(try ask("\(form.rawValue) \(owner)\n")) }

    private func ask(_ line: String) throws(SystemError) -> Descriptor {
        let connection = try Socket.connect(path: socket)
        Socket.setNonblocking(connection.raw)
        try IO.writeAll(connection.raw, Array(line.utf8), idleMilliseconds: 5000)
        Socket.endWriting(connection.raw)
        return connection
    }

    /// A stream that somebody reads.
    final class Download: Sendable {
        private let raw: Int32

        init(_ connection: consuming Descriptor) { raw = connection.release() }
        deinit { Socket.close(raw) }

        /// Blocks. Empty at the end.
        func next() throws(SystemError) -> [UInt8] {
            guard try IO.wait(raw, forWriting: false, milliseconds: 60_000) else { throw SystemError("read", "run/export", code: 110 /* ETIMEDOUT */) }
            return try IO.readSome(raw, limit: MaildirExports.pieceOctets)
        }
    }
}
