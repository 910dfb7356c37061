// The order of commands (RFC 5321 4.1.4) and what reaches the envelope.
import Mail
import SMTP
import Testing

@Suite struct TransactionTests {
    @Test func theEnvelopeSaysWhatTheClientSaid() {
        let conversation = conversation(after: [
            "EHLO x\r\n", "MAIL FROM:<ü@example.org> BODY=8BITMIME SMTPUTF8 SIZE=100\r\nRCPT TO:<\"a b\"@semail.test>\r\nRCPT TO:<@relay:y@semail.test>\r\nDATA\r\n", "x\r\n.\r\n",
        ])
        #expect(conversation.messages.map(\.envelope) == [Envelope(
            received: 0, client: Array("192.0.2.7".utf8), sender: Address("ü@example.org"), recipients: [Address("\"a b\"@semail.test")!, Address("y@semail.test")!], is8Bit: true, isSMTPUTF8: true)])
    }

    @Test func theNullSender() {
        let conversation = conversation(after: ["EHLO x\r\n", "MAIL FROM:<>\r\nRCPT TO:<x@semail.test>\r\nDATA\r\n", "x\r\n.\r\n"])
        #expect(conversation.messages.first?.envelope.sender == nil)
        #expect(conversation.messages.first?.envelope.is8Bit == false)
        #expect(conversation.messages.first?.envelope.isSMTPUTF8 == false)
    }

    /// Named twice, in another case, and behind an alias: one copy.
    @Test func eachMailboxOnce() {
        let conversation = Conversation()
        conversation.lookUp = { address, _ in address.isNamed("team") ? .exists([Address("x@semail.test")!, Address("y@semail.test")!]) : .exists([address]) }
        for group in envelopeGroups(to: ["x@semail.test", "X@SEMAIL.test", "\"x\"@semail.test", "team@semail.test"]) + ["DATA\r\n", "x\r\n.\r\n"] { conversation.send(group) }
        #expect(conversation.codes.filter { $0 == 250 }.count == 7)
        #expect(conversation.messages.first?.envelope.recipients.map(\.address) == [Address("x@semail.test")!, Address("y@semail.test")!])
    }

    @Test(arguments: [(MailboxAnswer.unknown, "550 5.1.1"), (.suspended, "450 4.2.1"), (.full, "452 4.2.2"), (.neverFits, "552 5.3.4"), (.trouble, "451 4.3.0")])
    func refusedRecipients(answer: MailboxAnswer, status: String) {
        let conversation = Conversation()
        conversation.lookUp = { _, _ in answer }
        (envelopeGroups() + ["DATA\r\n"]).forEach { conversation.send($0) }
        #expect(conversation.statuses.suffix(2) == [status, "554 5.5.1"])
        #expect(conversation.messages.isEmpty)
    }

    /// The size that was declared reaches the look-up.
    @Test func theDeclaredSizeIsLookedAt() {
        let conversation = Conversation()
        conversation.lookUp = { address, size in size > 1000 ? .neverFits : .exists([address]) }
        ["EHLO x\r\n", "MAIL FROM:<a@b> SIZE=1001\r\nRCPT TO:<x@semail.test>\r\n"].forEach { conversation.send($0) }
        #expect(conversation.statuses.last == "552 5.3.4")
    }

    /// Nothing of a transaction survives its end.
    @Test(arguments: ["RSET\r\n", "EHLO y\r\n", "HELO y\r\n"]) func whatForgetsForgetsAll(command: String) {
        let conversation = conversation(after: envelopeGroups(to: ["old@semail.test"]) + [command, "MAIL FROM:<new@b>\r\n", "RCPT TO:<new@semail.test>\r\n", "DATA\r\n", "x\r\n.\r\n"])
        #expect(conversation.messages.map { $0.envelope.recipients.map(\.address) } == [[Address("new@semail.test")!]])
        #expect(conversation.messages.first?.envelope.sender == Address("new@b"))
    }

    @Test func afterAMessageTheNextBeginsWithMAIL() {
        let conversation = inData()
        conversation.send("x\r\n.\r\n")
        ["RCPT TO:<x@semail.test>\r\n", "DATA\r\n", "BDAT 1 LAST\r\nx"].forEach { conversation.send($0) }
        #expect(conversation.statuses.suffix(3) == ["503 5.5.1", "503 5.5.1", "503 5.5.1"])
        #expect(conversation.messages.count == 1)
    }

    static let states: [(String, [String])] = [("connected", []), ("greeted", ["EHLO x\r\n"]), ("in a transaction", ["EHLO x\r\n", "MAIL FROM:<a@b>\r\n"]), ("with recipients", envelopeGroups())]

    @Test(arguments: [
        ("HELO y", [250, 250, 250, 250]), ("EHLO y", [250, 250, 250, 250]), ("MAIL FROM:<a@b>", [503, 250, 503, 503]), ("RCPT TO:<x@semail.test>", [503, 503, 250, 250]),
        ("DATA", [503, 503, 503, 354]), ("BDAT 0", [503, 503, 503, 250]), ("RSET", [250, 250, 250, 250]), ("NOOP", [250, 250, 250, 250]), ("HELP", [214, 214, 214, 214]),
        ("QUIT", [221, 221, 221, 221]), ("VRFY x", [502, 502, 502, 502]), ("EXPN x", [502, 502, 502, 502]), ("STARTTLS", [502, 502, 502, 502]), ("AUTH PLAIN", [502, 502, 502, 502]), ("WHAT", [500, 500, 500, 500]),
    ])
    func everyCommandInEveryState(command: String, codes: [Int]) {
        for ((name, groups), code) in zip(Self.states, codes) {
            for spelling in [command, command.lowercased(), command + "  "] {
                let conversation = conversation(after: groups + [spelling + "\r\n"])
                #expect(conversation.codes.last == code, "\(spelling) when \(name)")
                #expect(conversation.violations == [])
            }
        }
    }

    @Test(arguments: [
        ("MAIL FROM:<a@b> BODY=7BIT", "250 2.1.0"), ("MAIL FROM: <a@b>", "250 2.1.0"), ("mail from:a@b size=1 body=8bitmime smtputf8", "250 2.1.0"), ("MAIL FROM:<\"\"@b>", "250 2.1.0"),
        ("MAIL", "501 5.5.4"), ("MAIL TO:<a@b>", "501 5.5.4"), ("MAIL FROM <a@b>", "501 5.5.4"), ("MAIL FROM:", "501 5.1.7"), ("MAIL FROM:<a>", "501 5.1.7"), ("MAIL FROM:<a@b>x", "501 5.5.4"),
        ("MAIL FROM:<a@b> SIZE", "501 5.5.4"), ("MAIL FROM:<a@b> SIZE=", "501 5.5.4"), ("MAIL FROM:<a@b> SIZE=-1", "501 5.5.4"), ("MAIL FROM:<a@b> SIZE=1x", "501 5.5.4"), ("MAIL FROM:<a@b> SIZE=1 SIZE=1", "501 5.5.4"),
        ("MAIL FROM:<a@b> SIZE=999999999999999999999", "501 5.5.4"),
        ("MAIL FROM:<a@b> BODY", "501 5.5.4"), ("MAIL FROM:<a@b> BODY=9BIT", "501 5.5.4"), ("MAIL FROM:<a@b> SMTPUTF8=yes", "501 5.5.4"), ("MAIL FROM:<a@b> =x", "501 5.5.4"), ("MAIL FROM:<a@b> -x=1", "501 5.5.4"), ("MAIL FROM:<a@b> x=a=b", "501 5.5.4"),
        ("MAIL FROM:<a@b> NEW=1", "555 5.5.4"), ("MAIL FROM:<a@b> AUTH=<>", "555 5.5.4"), ("MAIL FROM:<ü@b>", "553 5.6.7"), ("MAIL FROM:<a@b> X=ü", "500 5.5.2"), ("MAIL FROM:<a@b>\tX", "500 5.5.2"),
    ])
    func parametersOfMAIL(command: String, status: String) {
        let conversation = conversation(after: ["EHLO x\r\n", command + "\r\n"])
        #expect(conversation.statuses.last == status)
        #expect(conversation.violations == [])
    }
}
