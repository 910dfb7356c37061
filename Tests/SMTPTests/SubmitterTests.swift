// Who may send as whom: lookups in their order, one reply for each message however many fields are wrong, and disks that fail meanwhile.
import Mail
import SMTP
import Testing

@Suite struct SubmitterTests {
    private static let own = Submitter.mailbox(Address("ssow@semail.test")!)

    private func begun(as submitter: Submitter, from sender: String = "ssow@semail.test") -> Conversation {
        let conversation = conversation(as: submitter, after: ["EHLO client.example\r\n"])
        conversation.lookUpSender = { address in
            switch String(decoding: address.domain, as: UTF8.self) {
            case "semail.test": .exists
            case "trouble.test": .trouble
            default: .unknown
            }
        }
        conversation.lookUp = { address, _ in address.domain == Array("semail.test".utf8) ? .exists([address]) : .elsewhere }
        conversation.send("MAIL FROM:<\(sender)>\r\nRCPT TO:<anna@example.org>\r\nDATA\r\n")
        #expect(conversation.codes.last == 354)
        return conversation
    }

    /// One reply, no message, and a session that is as good as new.
    private func isRefused(_ conversation: Conversation, _ header: String, _ status: String) {
        let before = conversation.statuses.count
        conversation.send(header + "\r\n\r\nhello\r\n.\r\n")
        #expect(conversation.statuses.dropFirst(before) == [status], "\(header)")
        #expect(conversation.messages == [])
        conversation.send("RCPT TO:<anna@example.org>\r\nMAIL FROM:<ssow@semail.test>\r\nRCPT TO:<anna@example.org>\r\nDATA\r\n")
        #expect(conversation.codes.suffix(4) == [503, 250, 250, 354], "\(header)")
        conversation.send("\r\nhello\r\n.\r\n")
        #expect(conversation.messages.count == 1)
        #expect(conversation.violations == [])
    }

    /// Each from the fields alone; then as the host, for whom each name is a lookup.
    @Test(arguments: [
        "From: a@other.test", "From: ssow@semail.test, a@other.test", "Sender: a@other.test", "From: ssow@semail.test\r\nResent-From: a@other.test", "From: <",
        "From: a@other.test\r\nSender: <", "From: <\r\nSender: a@other.test",
        "From: a@other.test, b@other.test, c@other.test\r\nSender: d@other.test", "From: ssow@semail.test\r\nFrom: ssow@semail.test", "From: a@other.test\r\nFrom: b@other.test", "From:",
        "Resent-Sender: ;",
        "From: ssow@semail.test, a@other.test, ssow@semail.test, (", "From: a@other.test, b@trouble.test",
    ]) func oneReply(header: String) {
        for submitter in [Self.own, .host] { isRefused(begun(as: submitter), header, "550 5.7.1") }
    }

    @Test(arguments: ["From: a@trouble.test", "From: ssow@semail.test, a@trouble.test, b@other.test", "From: ssow@semail.test\r\nSender: a@trouble.test"]) func troubleIsNoRefusal(header: String) {
        isRefused(begun(as: .host), header, "451 4.3.0")
    }

    @Test func theEnvelopesSenderOfTheHost() {
        let conversation = conversation(as: .host, after: ["EHLO client.example\r\n"])
        conversation.lookUpSender = { address in address.domain == Array("trouble.test".utf8) ? .trouble : address.domain == Array("semail.test".utf8) ? .exists : .unknown }
        conversation.send("MAIL FROM:<a@other.test>\r\nMAIL FROM:<a@trouble.test>\r\nRCPT TO:<x@y>\r\nMAIL FROM:<>\r\nRSET\r\nMAIL FROM:<a@semail.test>\r\n")
        #expect(conversation.codes.suffix(6) == [550, 451, 503, 250, 250, 250])
        #expect(conversation.senderLookUps.count == 3)
    }

    /// A name that stands there several times is asked for once; what is known already is not asked for at all.
    @Test func eachNameOnce() {
        let host = begun(as: .host)
        host.send("From: a@semail.test, b@semail.test, a@semail.test\r\nSender: b@semail.test\r\n\r\n.\r\n")
        #expect(host.senderLookUps.map { String(decoding: $0.bytes, as: UTF8.self) } == ["ssow@semail.test", "a@semail.test", "b@semail.test"])
        #expect(host.messages.count == 1)
        let mailbox = begun(as: Self.own)
        mailbox.send("From: ssow@semail.test\r\n\r\n.\r\n")
        #expect(mailbox.senderLookUps == [])
        #expect(mailbox.messages.count == 1)
    }

    /// The lookups wait between the last of the content and the commit; a disk that fails before them makes them pointless.
    @Test func disksThatFailBeforeALookup() {
        for (fault, status) in [(StoreFault.noSpace, "452 4.3.1"), (.other, "451 4.3.0")] {
            for header in ["From: a@other.test\r\n", "From: ssow@semail.test, a@semail.test\r\nSender: a@semail.test\r\n"] {
                let conversation = begun(as: .host)
                let before = conversation.statuses.count
                conversation.storeFault = { fault }
                conversation.send(header + "\r\nhello\r\n.\r\nNOOP\r\n")
                #expect(Array(conversation.statuses.dropFirst(before)) == [status, "250 2.0.0"])
                #expect(conversation.violations == [])
            }
        }
    }

    @Test func disksThatFailAtTheCommit() {
        let conversation = begun(as: .host)
        conversation.commitFault = { .noSpace }
        conversation.send("From: ssow@semail.test\r\n\r\n.\r\nNOOP\r\n")
        #expect(conversation.statuses.suffix(2) == ["452 4.3.1", "250 2.0.0"])
        #expect(conversation.messages == [])
    }

    @Test func whoHasSentEnough() {
        for begin in ["DATA\r\n", "BDAT 6 LAST\r\nQUIT\r\n"] {
            let conversation = conversation(as: Self.own, after: ["EHLO client.example\r\n", "MAIL FROM:<ssow@semail.test>\r\nRCPT TO:<ssow@semail.test>\r\n"])
            conversation.openFault = { .overBudget }
            conversation.send(begin)
            #expect(conversation.statuses.last == "451 4.7.1")
            conversation.openFault = { nil }
            conversation.send("MAIL FROM:<ssow@semail.test>\r\nRCPT TO:<ssow@semail.test>\r\nBDAT 2 LAST\r\n\r\n")
            #expect(conversation.statuses.last == "250 2.0.0")
            #expect(conversation.messages.count == 1)
            #expect(conversation.violations == [])
        }
    }

    /// What is written in the envelope: who is accountable.
    @Test func whoIsAccountable() {
        for (submitter, sender, by) in [(Self.own, "", "ssow@semail.test"), (Self.own, "SSOW@semail.test", "ssow@semail.test"), (.host, "a@semail.test", "a@semail.test"), (.host, "",
            "postmaster@mail.semail.test")] {
            let conversation = begun(as: submitter, from: sender)
            conversation.send("\r\n.\r\n")
            #expect(conversation.messages.first?.envelope.submitter == Address(by))
            #expect(conversation.messages.first?.envelope.sender == Address(sender))
        }
        let inbound = inData()
        inbound.send("From: x\r\nFrom: y\r\nBcc: z\r\n.\r\n")
        #expect(inbound.messages.first?.envelope.submitter == nil)
        #expect(inbound.messages.first?.body == "From: x\nFrom: y\nBcc: z\n")
    }

    /// RFC 6531 3.7.4: no reply has octets beyond ASCII for a client that has not asked for them.
    @Test func repliesAreASCII() {
        let conversation = conversation(as: .mailbox(Address("jörg@semail.test")!), after: ["EHLO client.example\r\n"])
        conversation.send("MAIL FROM:<ssow@semail.test>\r\nMAIL FROM:<jörg@semail.test>\r\nMAIL FROM:<jörg@semail.test> SMTPUTF8\r\nRCPT TO:<jörg@semail.test>\r\nDATA\r\n")
        #expect(conversation.codes.suffix(5) == [550, 553, 250, 250, 354])
        conversation.send("From: ssow@semail.test\r\n\r\n.\r\n")
        #expect(conversation.statuses.last == "550 5.7.1")
        #expect(conversation.violations == [])
    }

    /// A From that is sixty thousand octets long is read in time.
    @Test func manyNames() {
        let conversation = begun(as: .host)
        conversation.send("From: a@semail.test" + (0..<2500).map { "\r\n\t, n\($0)@semail.test" }.joined() + "\r\n\r\n.\r\n")
        #expect(conversation.messages.count == 1)
        #expect(conversation.senderLookUps.count == 2502)
    }
}
