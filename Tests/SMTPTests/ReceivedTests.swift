// The Received line (RFC 5321 4.4): exact, true, and first.
import Mail
import SMTP
import Testing

@Suite struct ReceivedTests {
    private func received(_ client: Client = Conversation.client(), by groups: [String]) -> String {
        let conversation = Conversation(client)
        groups.forEach { conversation.send($0) }
        #expect(conversation.violations == [])
        guard let message = conversation.messages.first else { Issue.record("no message: \(conversation.lines)"); return "" }
        return String(String(decoding: message.content, as: UTF8.self).dropLast(message.body.count))
    }

    private let data = ["DATA\r\n", "x\r\n.\r\n"]

    @Test func theLineIsThis() {
        #expect(received(by: envelopeGroups() + data) == """
            Received: from client.example ([192.0.2.7])
            \tby mail.semail.test (SEMail) with ESMTP id id1
            \tfor <x@semail.test>;
            \tMon, 23 Nov 2026 21:05:13 +0000

            """)
    }

    /// RFC 5321 4.1.3: an IPv6 address has its tag.
    @Test func overIPv6() {
        var client = Conversation.client()
        client.address = Array("2001:db8::7".utf8)
        #expect(received(client, by: envelopeGroups() + data).hasPrefix("Received: from client.example ([IPv6:2001:db8::7])\n"))
    }

    /// RFC 3848, RFC 6531 3.7.3.
    @Test(arguments: [
        ("HELO x\r\n", "", false, "SMTP"), ("EHLO x\r\n", "", false, "ESMTP"), ("EHLO x\r\n", "", true, "ESMTPS"),
        ("EHLO x\r\n", " SMTPUTF8", false, "UTF8SMTP"), ("EHLO x\r\n", " SMTPUTF8", true, "UTF8SMTPS"),
    ])
    func protocols(greeting: String, parameter: String, tls: Bool, expected: String) {
        var client = Conversation.client()
        if tls { client.tls = Array("TLSv1.3 TLS_AES_256_GCM_SHA384".utf8) }
        let line = received(client, by: [greeting, "MAIL FROM:<a@b>\(parameter)\r\n", "RCPT TO:<x@semail.test>\r\n"] + data)
        #expect(line.contains(" with \(expected) id "))
        #expect(line.contains("\t(TLSv1.3 TLS_AES_256_GCM_SHA384)\n") == tls)
    }

    @Test func byHand() {
        #expect(received(Conversation.client(byHand: true), by: ["HELO me\nMAIL FROM:<a@b>\nRCPT TO:<x@semail.test>\nDATA\nx\n.\n"]).hasPrefix("Received: from me (by hand)\n\tby "))
    }

    /// RFC 5321 7.2: blind copies stay blind.
    @Test func severalRecipientsAreNotNamed() {
        #expect(!received(by: envelopeGroups(to: ["x@semail.test", "y@semail.test"]) + data).contains("for <"))
    }

    /// The one that was taken is named, not one that was refused before it.
    @Test func refusedRecipientsAreNotNamed() {
        let conversation = Conversation()
        conversation.lookUp = { address, _ in address.isNamed("nobody") ? .unknown : .exists([address]) }
        for group in envelopeGroups(to: ["nobody@semail.test", "x@semail.test", "nobody@semail.test"]) + data { conversation.send(group) }
        #expect(String(decoding: conversation.messages[0].content, as: UTF8.self).contains("\n\tfor <x@semail.test>;\n"))
    }

    /// As the client wrote it; what an alias stands for is nobody's business.
    @Test func anAliasIsNamedNotItsTargets() {
        let conversation = Conversation()
        conversation.lookUp = { _, _ in .exists([Address("one@semail.test")!, Address("two@semail.test")!]) }
        for group in envelopeGroups(to: ["Team@semail.test"]) + data { conversation.send(group) }
        #expect(String(decoding: conversation.messages[0].content, as: UTF8.self).contains("\n\tfor <Team@semail.test>;\n"))
        #expect(conversation.messages[0].envelope.recipients.map(\.address.bytes) == ["one@semail.test", "two@semail.test"].map { Array($0.utf8) })
    }

    /// Every message has it, one without any content too (RFC 3030 allows `BDAT 0 LAST`).
    @Test(arguments: [["BDAT 0 LAST\r\n"], ["BDAT 0\r\n", "BDAT 0 LAST\r\n"], ["DATA\r\n", ".\r\n"], ["BDAT 1 LAST\r\nx"]])
    func everyMessageHasIt(groups: [String]) {
        #expect(received(by: envelopeGroups() + groups).hasPrefix("Received: from client.example "))
    }

    /// The second message's line speaks of the second message.
    @Test func eachItsOwn() {
        let conversation = conversation(after: envelopeGroups() + data + ["MAIL FROM:<>\r\nRCPT TO:<y@semail.test>\r\nDATA\r\n", "z\r\n.\r\n"])
        let second = String(decoding: conversation.messages[1].content, as: UTF8.self)
        #expect(second.contains(" id id2\n"))
        #expect(second.contains("for <y@semail.test>"))
    }
}
