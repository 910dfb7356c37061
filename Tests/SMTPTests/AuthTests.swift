// AUTH as a state machine (RFC 4954): who is asked what, and what the session is afterwards.
import Mail
import SMTP
import Testing

@Suite struct AuthTests {
    private func session(limits: Limits = Limits(), as submitter: Submitter = .nobody, answer: Authentication = .accepted(Address("ssow@semail.test")!)) -> Conversation {
        let conversation = conversation(as: submitter, mayAuthenticate: true, limits: limits, after: ["EHLO client.example\r\n"])
        conversation.authenticate = { _ in answer }
        return conversation
    }

    private func line(_ text: String) -> String { String(decoding: Base64.encode(Array(text.utf8)), as: UTF8.self) + "\r\n" }

    @Test(arguments: [
        (Authentication.accepted(Address("ssow@semail.test")!), "235 2.7.0"), (.refused, "535 5.7.8"), (.slowedDown, "454 4.7.0"), (.unavailable, "454 4.7.0"),
    ]) func eachAnswerHasItsReply(answer: Authentication, status: String) {
        for exchange in [["AUTH PLAIN " + line("\0u\0p")], ["AUTH PLAIN\r\n", line("\0u\0p")], ["AUTH LOGIN\r\n", line("u"), line("p")], ["AUTH LOGIN " + line("u"), line("p")]] {
            let conversation = session(answer: answer)
            exchange.forEach { conversation.send($0) }
            #expect(conversation.statuses.last == status)
            #expect(conversation.questions == [.init(user: Array("u".utf8), password: Array("p".utf8))])
            conversation.send("MAIL FROM:<ssow@semail.test>\r\n")
            #expect(conversation.codes.last == (status.hasPrefix("235") ? 250 : 530))
            #expect(conversation.violations == [])
        }
    }

    /// Once known, always known: by that mailbox and no other, over EHLO, RSET and messages.
    @Test func whoIsKnownStaysKnown() {
        let conversation = session()
        conversation.send("AUTH PLAIN " + line("\0u\0p"))
        for between in ["EHLO again\r\n", "RSET\r\n", "HELO again\r\n", "EHLO third\r\n"] {
            conversation.send(between)
            conversation.send("MAIL FROM:<xredon@semail.test>\r\n")
            #expect(conversation.statuses.last == "550 5.7.1", "\(between)")
            conversation.send("EHLO again\r\n")
            conversation.send("AUTH PLAIN " + line("\0x\0p"))
            #expect(conversation.statuses.last == "503 5.5.1")
        }
        #expect(conversation.dialogue.submitter == .mailbox(Address("ssow@semail.test")!))
        #expect(conversation.questions.count == 1)
    }

    /// A mailbox known by its container is that until it is another; a failure changes nothing.
    @Test func aFailureChangesNothing() {
        for answer in [Authentication.refused, .slowedDown, .unavailable] {
            let own = Submitter.mailbox(Address("own@semail.test")!)
            let conversation = session(as: own, answer: answer)
            conversation.send("AUTH PLAIN " + line("\0u\0p"))
            #expect(conversation.dialogue.submitter == own)
            conversation.send("MAIL FROM:<own@semail.test>\r\n")
            #expect(conversation.codes.last == 250)
        }
    }

    /// What comes between a challenge and its response is the response, whatever it looks like.
    @Test func oneLineForOneChallenge() {
        for (text, status) in [("QUIT\r\n", "501 5.5.2"), ("NOOP\r\n", "501 5.5.2"), ("*\r\n", "501 5.0.0"), ("\r\n", "501 5.5.2"), ("=\r\n", "501 5.5.2"), ("BDAT 5\r\n", "501 5.5.2"),
            (line("\0u"), "501 5.5.2")] {
            let conversation = session()
            conversation.send("AUTH PLAIN\r\n")
            conversation.send(text)
            #expect(conversation.statuses.last == status, "\(text)")
            conversation.send("NOOP\r\n")
            #expect(conversation.statuses.last == "250 2.0.0", "\(text)")
            #expect(conversation.questions == [])
        }
    }

    /// All octets are carried to those who know passwords, but NUL, which their interface has no place for.
    @Test func everyOctetOfAPassword() {
        for octet in UInt8(1)...255 {
            let conversation = session(answer: .unavailable)
            conversation.send("AUTH PLAIN " + String(decoding: Base64.encode([0, 0x75, octet, 0, octet]), as: UTF8.self) + "\r\n")
            #expect(conversation.questions == [.init(user: [0x75, octet], password: [octet])])
        }
        for user in ["\0u", "u\0", "\0"] {
            let conversation = session()
            conversation.send("AUTH LOGIN " + line(user))
            conversation.send(line("p"))
            #expect(conversation.statuses.last == "535 5.7.8")
            #expect(conversation.questions == [])
        }
    }

    /// The request has room for 1024 octets, of which user and password have 499.
    @Test(arguments: [(1, 498, true), (498, 1, true), (1, 499, false), (499, 1, false), (250, 250, false), (800, 400, false)]) func lengths(user: Int, password: Int, isAsked: Bool) {
        let conversation = session()
        conversation.send("AUTH PLAIN " + line("\0" + String(repeating: "u", count: user) + "\0" + String(repeating: "p", count: password)))
        #expect(conversation.questions.isEmpty == !isAsked)
        #expect(conversation.codes.last == (isAsked ? 235 : 535))
    }

    @Test func threeWrongOnes() {
        let conversation = session(answer: .refused)
        for _ in 0..<2 { conversation.send("AUTH PLAIN " + line("\0u\0p")) }
        conversation.send("EHLO again\r\n")
        #expect(conversation.ending == nil)
        conversation.send("AUTH PLAIN " + line("\0u\0p"))
        #expect(conversation.codes.suffix(2) == [535, 421])
        #expect(conversation.ending == .closed)
        #expect(conversation.violations == [])
    }

    /// A guess costs the pause of an error.
    @Test func aWrongOneIsSlow() {
        let conversation = session(answer: .refused)
        conversation.send("AUTH PLAIN " + line("\0u\0p"))
        #expect(conversation.pauses == 1)
    }

    /// The last error a session may have and the third wrong password at once: one goodbye.
    @Test func oneGoodbye() {
        var limits = Limits()
        limits.errors = 3
        let conversation = session(limits: limits, answer: .refused)
        for _ in 0..<3 { conversation.send("AUTH PLAIN " + line("\0u\0p")) }
        #expect(conversation.codes.suffix(4) == [535, 535, 535, 421])
        #expect(conversation.codes.filter { $0 == 421 }.count == 1)
        #expect(conversation.ending == .closed)
    }

    @Test func theInboundServerHasNone() {
        var client = Conversation.client()
        client.mayAuthenticate = true
        client.tls = Array("TLSv1.3 x".utf8)
        let conversation = Conversation(client)
        conversation.send("EHLO client.example\r\n")
        conversation.send("AUTH PLAIN " + line("\0u\0p"))
        #expect(conversation.statuses.last == "502 5.5.1")
        conversation.send("AUTH LOGIN\r\n")
        #expect(conversation.statuses.last == "502 5.5.1")
        #expect(conversation.questions == [])
    }

    @Test func timeThatRunsOutInAnExchange() {
        let conversation = session()
        conversation.send("AUTH LOGIN\r\n")
        conversation.timeIsOver()
        #expect(conversation.ending == .closed)
        #expect(conversation.codes.last == 421)
        #expect(conversation.violations == [])
    }
}
