// A rehearsal: a template relays a message in memory before it forks. What the language and the allocator set up at first use is then
// set up once, and the forks find it done.
import Mail
import Program
import Unix

enum WarmUp {
    private static let envelope = Array("semail 1\nreceived 1.000000\nbody 8bitmime\nfrom a@example.org\nto W b@example.org\n\n".utf8)
    private static let hello = Array("250-mx.example.org\r\n250-PIPELINING\r\n250-SIZE 1000\r\n250-DSN\r\n250 8BITMIME\r\n".utf8)
    private static let replies = Array("250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go on\r\n250 2.0.0 queued\r\n".utf8)

    static func run() {
        _ = Log.program
        let request = TemplateRequest(arguments: [[0x31], envelope, []], environment: [], descriptors: [])
        guard let (_, work) = TemplateRequest.decode(request.encoded(tag: 0), []), case .envelope(let envelope, _) = Envelope.read(work.arguments[1]) else { return }
        var reader = ReplyReader()
        hello.withUnsafeBytes { reader.take($0) }
        guard let answer = try? reader.next() else { return }
        replies.withUnsafeBytes { reader.take($0) }
        var transaction = Transaction(envelope, [nil], to: Capabilities(answer), host: [0x61], size: 10, hasUTF8Header: false, needsReset: false)
        while true {
            switch transaction.next() {
            case .commands(_, let stages): for stage in stages { if let reply = try? reader.next() { _ = transaction.take(reply, for: stage) } }
            case .content: if let reply = try? reader.next() { _ = transaction.take(reply, for: .content) }
            case .emptyContent, .done:
                _ = Report.lines(envelope, transaction.outcomes.compactMap { $0 })
                _ = [1, 2].shuffled()
                _ = NetworkAddress(text: "192.0.2.1")?.text
                // A large piece of memory makes the allocator join what it has in small ones, all over the pages that forks share.
                _ = Outlet()
                return
            }
        }
    }
}
