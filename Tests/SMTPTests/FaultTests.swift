// Disks that fail at each step: the client hears a 4xx once, nothing that could not be stored is ever committed, and the next message is
// as good as any.
import SMTP
import Testing

@Suite struct FaultTests {
    private func once(_ conversation: Conversation, _ status: String, _ send: () -> Void) {
        let before = conversation.statuses.count
        send()
        #expect(conversation.statuses.dropFirst(before) == [status])
        #expect(conversation.messages.isEmpty)
        #expect(conversation.violations == [])
    }

    /// The session is as good as new: a second message goes through.
    private func sendAnother(_ conversation: Conversation) {
        conversation.send("MAIL FROM:<>\r\nRCPT TO:<y@semail.test>\r\nDATA\r\n")
        #expect(conversation.codes.last == 354)
        conversation.send("second\r\n.\r\n")
        #expect(conversation.statuses.last == "250 2.0.0")
        #expect(conversation.messages.map(\.body) == ["second\n"])
        #expect(conversation.violations == [])
    }

    static let faults: [(StoreFault, String)] = [(.noSpace, "452 4.3.1"), (.other, "451 4.3.0")]

    @Test(arguments: faults) func openingForDATA(fault: StoreFault, status: String) {
        let conversation = conversation(after: envelopeGroups())
        conversation.openFault = { fault }
        once(conversation, status) { conversation.send("DATA\r\n") }
        conversation.openFault = { nil }
        sendAnother(conversation)
    }

    /// The chunk is on its way already: it is swallowed, then answered.
    @Test(arguments: faults) func openingForBDAT(fault: StoreFault, status: String) {
        let conversation = conversation(after: envelopeGroups())
        conversation.openFault = { fault }
        once(conversation, status) { conversation.send("BDAT 12\r\nQUIT\r\nQUIT\r\n") }
        conversation.openFault = { nil }
        sendAnother(conversation)
    }

    @Test(arguments: faults) func storingWhileMoreIsToCome(fault: StoreFault, status: String) {
        let conversation = inData()
        conversation.storeFault = { fault }
        conversation.send("one\r\n")
        conversation.storeFault = { nil }
        conversation.send("two\r\n")
        #expect(conversation.discards == 1)
        once(conversation, status) { conversation.send("three\r\n.\r\n") }
        sendAnother(conversation)
    }

    /// The last octets and the end of data come together: there is no message to commit any more.
    @Test(arguments: faults) func storingTheLastOctets(fault: StoreFault, status: String) {
        for groups in [["DATA\r\n", "one\r\n.\r\n"], ["BDAT 5 LAST\r\none\r\n"], ["BDAT 3 LAST\r\none"], ["BDAT 0 LAST\r\n"]] {
            let conversation = conversation(after: envelopeGroups() + groups.dropLast())
            let before = conversation.statuses.count
            conversation.storeFault = { fault }
            conversation.send(groups.last!)
            conversation.storeFault = { nil }
            #expect(conversation.statuses.dropFirst(before) == [status], "\(groups)")
            #expect(conversation.messages.isEmpty)
            #expect(conversation.violations == [], "\(groups)")
            sendAnother(conversation)
        }
    }

    /// The line end that we add ourselves can fail too.
    @Test(arguments: faults) func storingTheAddedLineEnd(fault: StoreFault, status: String) {
        let conversation = conversation(after: envelopeGroups())
        var stores = 0
        conversation.storeFault = { stores += 1; return stores > 1 ? fault : nil }
        once(conversation, status) { conversation.send("BDAT 3 LAST\r\none") }
        #expect(stores == 2)
        conversation.storeFault = { nil }
        sendAnother(conversation)
    }

    @Test(arguments: faults) func storingAChunkEndsTheTransaction(fault: StoreFault, status: String) {
        let conversation = conversation(after: envelopeGroups())
        conversation.storeFault = { fault }
        once(conversation, status) { conversation.send("BDAT 3\r\none") }
        conversation.storeFault = { nil }
        // RFC 3030 2: a failed chunk ends the message; what was pipelined behind it is refused.
        conversation.send("BDAT 3 LAST\r\ntwo")
        #expect(conversation.statuses.last == "503 5.5.1")
        sendAnother(conversation)
    }

    @Test(arguments: faults) func committing(fault: StoreFault, status: String) {
        for groups in [["DATA\r\n", "one\r\n.\r\n"], ["BDAT 5 LAST\r\none\r\n"]] {
            let conversation = conversation(after: envelopeGroups() + groups.dropLast())
            conversation.commitFault = { fault }
            once(conversation, status) { conversation.send(groups.last!) }
            conversation.commitFault = { nil }
            sendAnother(conversation)
        }
    }

    @Test func aFaultOfTheContentAndOneOfTheDiskAreAnsweredOnce() {
        var limits = Limits()
        limits.messageSize = 100
        let conversation = inData(limits: limits)
        conversation.storeFault = { .noSpace }
        conversation.send("one\r\n")
        let before = conversation.statuses.count
        conversation.send(String(repeating: "x", count: 200) + "\r\n.\r\n")
        #expect(conversation.statuses.count == before + 1)
        #expect(conversation.messages.isEmpty)
        #expect(conversation.violations == [])
    }

    /// RFC 1870 6.1: no room for what was declared is said at MAIL.
    @Test func noRoomForWhatIsDeclared() {
        let conversation = conversation(after: ["EHLO client.example\r\n"])
        conversation.hasRoom = { $0 <= 1000 }
        conversation.send("MAIL FROM:<a@b> SIZE=1001\r\n")
        #expect(conversation.statuses.last == "452 4.3.1")
        conversation.send("RCPT TO:<x@semail.test>\r\n")
        #expect(conversation.statuses.last == "503 5.5.1")
        conversation.send("MAIL FROM:<a@b> SIZE=1000\r\n")
        #expect(conversation.statuses.last == "250 2.1.0")
    }
}
