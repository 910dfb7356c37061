// The client's side of SMTP with the submission service, through its unix socket: a command, its reply.
import Unix

struct Reply {
    let code: Int
    /// Without code and separator, one for each line.
    let lines: [[UInt8]]

    var isPermanent: Bool { code >= 500 }
    var isTaken: Bool { 200..<400 ~= code }

    /// As people read it: `550 5.1.1 No such mailbox`.
    var text: String { "\(code) " + lines.map { String(decoding: $0.map { $0 < 0x20 || $0 == 0x7f ? 0x3f : $0 }, as: UTF8.self) }.joined(separator: " ") }

    /// RFC 3463; empty if there is none.
    var status: String {
        let word = String(decoding: (lines.first ?? []).prefix { $0 != 0x20 }, as: UTF8.self)
        return word.split(separator: ".").count == 3 ? word : ""
    }
}

final class Conversation {
    /// RFC 5321 4.5.3.2: five minutes for a reply, ten after the message.
    private static let replyMilliseconds = 300_000, endMilliseconds = 600_000

    private let socket: Descriptor
    private let isShown: Bool
    private var input: [UInt8] = []

    init(_ socket: consuming Descriptor, isShown: Bool) {
        self.socket = socket
        self.isShown = isShown
        Socket.setNonblocking(self.socket.raw)
    }

    func say(_ command: [UInt8]) throws -> Reply {
        show(">>> ", command)
        try write(command + [0x0d, 0x0a])
        return try reply()
    }

    func write(_ bytes: [UInt8]) throws {
        do throws(SystemError) { try IO.writeAll(socket.raw, bytes, idleMilliseconds: Conversation.replyMilliseconds) } catch {
            // One that hangs up has mostly said why.
            if let last = try? reply(), last.code >= 400 { throw Trouble(last) }
            throw Trouble("the submission service has gone away: \(error.text)", .tryAgain)
        }
    }

    /// After the end of the message.
    func lastReply() throws -> Reply { try reply(milliseconds: Conversation.endMilliseconds) }

    func reply(milliseconds: Int = replyMilliseconds) throws -> Reply {
        let end = Clock.monotonicMilliseconds() + milliseconds
        var lines: [[UInt8]] = []
        while lines.count < 100 {
            let line = try self.line(until: end)
            show("<<< ", line)
            guard line.count >= 3, let code = Int(String(decoding: line.prefix(3), as: UTF8.self)), 200...599 ~= code else { break }
            lines.append(Array(line.dropFirst(4)))
            if line.count < 4 || line[3] != 0x2d { return Reply(code: code, lines: lines) }
        }
        throw Trouble("the submission service says what is no SMTP", .tryAgain)
    }

    private func line(until end: Int) throws -> [UInt8] {
        while true {
            if let place = input.firstIndex(of: 0x0a) {
                var line = Array(input[..<place])
                input.removeFirst(place + 1)
                if line.last == 0x0d { line.removeLast() }
                return line
            }
            guard input.count < 4096 else { throw Trouble("the submission service says what is no SMTP", .tryAgain) }
            let left = end - Clock.monotonicMilliseconds()
            guard left > 0, try IO.wait(socket.raw, forWriting: false, milliseconds: left) else { throw Trouble("the submission service does not answer", .tryAgain) }
            let more = try IO.readSome(socket.raw, limit: 4096)
            if more.isEmpty { throw Trouble("the submission service has hung up", .tryAgain) }
            input += more
        }
    }

    private func show(_ sign: String, _ line: [UInt8]) {
        if isShown { try? IO.writeAll(Descriptor.standardOutput, Array(sign.utf8) + line + [0x0a]) }
    }
}

/// The service's socket.
func connect(_ path: String) throws -> Descriptor {
    do throws(SystemError) { return try Socket.connect(path: path) } catch {
        throw Trouble("the submission service does not answer: \(error.text)", .tryAgain)
    }
}
