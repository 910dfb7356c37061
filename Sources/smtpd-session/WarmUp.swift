// A rehearsal: a template goes through a whole session in memory before it forks. What the language and the allocator set
// up at first use is then set up once, and the forks find it done.
import Control
import Mail
import Program
import Queue
import SMTP
import Unix

enum WarmUp {
    private static let session = Array("""
        EHLO [127.0.0.1]\r
        MAIL FROM:<a@example.org> SIZE=10 BODY=8BITMIME\r
        RCPT TO:<b@example.org>\r
        DATA\r
        From: "A" <a@example.org>\r
        Subject: rehearsal\r
        \r
        .\r
        RSET\r
        QUIT\r

        """.utf8)

    static func run(_ station: Station) {
        let settings = station.settings
        let address = Address(localPart: [0x61], domain: [0x61])
        if let mailbox = Mailbox(Mailbox(owner: "a", uid: 1, gid: 1, maildir: "/a/b").encoded) {
            if case .mailboxes(let found) = Resolution.mailboxes([(address, mailbox)]) { _ = found.map(\.0) + found.map { _ in address } }
            _ = mailbox.volume
        }
        Log.rehearse(.text("id", "a"), .bytes("client", [0x61]))
        _ = try? station.resolver.resolve(address, hostname: settings.hostname, localAddress: "::1")
        _ = Environment(["PROTO=TCP", "TCPREMOTEIP=::1"])["TCPREMOTEIP"]
        _ = QueueID.make(microseconds: Clock.microseconds())
        var client = Client()
        client.isByHand = true
        if station.role == .submission {
            client.submitter = .host
            _ = Budgets.read(Budgets.text([1, 1, 1, 1, 1]))
        }
        var dialogue = Dialogue(hostname: settings.hostname, limits: settings.limits, client: client, hasSpokenFirst: false)
        var isFed = false
        while true {
            switch dialogue.next() {
            case .read:
                if isFed { return }
                isFed = dialogue.input.fill { buffer in
                    buffer.copyBytes(from: session)
                    return session.count
                }
            case .room: dialogue.room(true)
            case .lookUp(let address, _): dialogue.answer(MailboxAnswer.exists([address]))
            case .lookUpSender: dialogue.answer(SenderAnswer.exists)
            case .authenticate: dialogue.answer(Authentication.refused)
            case .open(let envelope):
                _ = envelope.encoded()
                dialogue.opened(.success(Array("rehearsal".utf8)), seconds: 0)
            case .store: dialogue.stored(.success(()))
            case .commit: dialogue.committed(.success(Array("rehearsal".utf8)))
            case .discard, .pause: break
            case .end, .endDraining: return
            }
        }
    }
}
