// One mailbox' deliveries for qrunner: batches come over a socket, each one datagram with its messages' files, and each is
// answered by one datagram with a line per message. When qrunner closes the socket, the work is done.
import Maildir
import Program
import Unix

struct Worker: ~Copyable {
    /// A delivery that takes longer hangs (a dead disk, a frozen mount): it ends, and the messages are tried again.
    private static let batchSeconds = 1800

    private let user: String
    private let path: String
    private let hostname: String
    private let socket: Int32

    init(_ request: TemplateRequest) throws {
        guard request.arguments.count == 3, request.descriptors.count == 1 else { throw Fatal("malformed request") }
        let words = request.arguments.map { String(decoding: $0, as: UTF8.self) }
        (user, path, hostname) = (words[0], words[1], words[2])
        socket = request.descriptors[0]
    }

    func run() throws -> Ending {
        var maildir: Maildir?
        // A qrunner that was killed, not ended, resets the socket: no more work either way.
        while let (bytes, files) = (try? Socket.receive(socket, limit: 128 * 1024)) ?? nil {
            Process.endAfter(seconds: Worker.batchSeconds)
            let messages = try Worker.messages(bytes, files)
            var outcomes: [Delivery.Outcome]
            do {
                if maildir == nil {
                    try Become.user(Program.user(user))
                    maildir = try Lock.open(path, hostname: hostname)
                }
                outcomes = Delivery.run(messages, to: &maildir!)
            } catch let error as SystemError {
                // Perhaps not mounted yet: the next batch tries anew.
                outcomes = messages.map { _ in Delivery.outcome(error) }
            }
            files.forEach(Socket.close)
            try Socket.send(socket, Array(outcomes.map(\.line).joined().utf8))
            Process.endAfter(seconds: 0)
        }
        maildir?.removeLeftovers()
        return .done
    }

    /// Four arguments for each file: its name in the Maildir, "again" or nothing, sender, recipient.
    private static func messages(_ bytes: [UInt8], _ files: [Int32]) throws -> [Delivery.Message] {
        guard let (_, request) = TemplateRequest.decode(bytes, files), request.arguments.count == 4 * files.count else { throw Fatal("malformed batch") }
        return files.enumerated().map { index, file in
            let words = request.arguments[(4 * index)..<(4 * index + 4)]
            let start = words.startIndex
            return Delivery.Message(
                source: file, sender: words[start + 2], recipient: words[start + 3], name: String(decoding: words[start], as: UTF8.self),
                mayBeThere: !words[start + 1].isEmpty)
        }
    }

    /// What the language sets up at first use, set up before the first fork.
    static func warmUp() {
        let request = TemplateRequest(arguments: [[0x31], [], [], [0x61]], environment: [], descriptors: [])
        let messages = (try? Worker.messages(request.encoded(tag: 0), [-1])) ?? []
        _ = messages.map { _ in Delivery.outcome(SystemError("rehearsal", code: 28 /* ENOSPC */)).line }.joined()
        _ = User("1:1")
    }
}
