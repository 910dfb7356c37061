// What one client may cost: recipients, messages, errors, octets, memory. Each limit has its reply.
import Mail
import SMTP
import Testing

@Suite struct SessionLimitTests {
    private func limits(_ change: (inout Limits) -> Void) -> Limits {
        var limits = Limits()
        change(&limits)
        return limits
    }

    /// RFC 5321 4.5.3.1.8, 4.5.3.1.10: at least 100; the others later, with 452.
    @Test func recipients() {
        #expect(Limits().recipients >= 100)
        let conversation = conversation(limits: limits { $0.recipients = 3; $0.errors = 2 }, after: envelopeGroups(to: (1...5).map { "x\($0)@semail.test" }))
        #expect(conversation.statuses.suffix(5) == ["250 2.1.5", "250 2.1.5", "250 2.1.5", "452 4.5.3", "452 4.5.3"])
        conversation.send("DATA\r\n")
        conversation.send("x\r\n.\r\n")
        #expect(conversation.messages[0].envelope.recipients.count == 3)
        #expect(conversation.ending == nil)
    }

    @Test func messagesPerSession() {
        let conversation = conversation(limits: limits { $0.messagesPerSession = 2 }, after: ["EHLO x\r\n"])
        for _ in 0..<2 { ["MAIL FROM:<a@b>\r\nRCPT TO:<x@semail.test>\r\nDATA\r\n", "x\r\n.\r\n"].forEach { conversation.send($0) } }
        conversation.send("MAIL FROM:<a@b>\r\nRCPT TO:<x@semail.test>\r\n")
        #expect(conversation.statuses.last == "421 4.7.0")
        #expect(conversation.ending == .closed)
        #expect(conversation.messages.count == 2)
    }

    /// Each error costs a pause, the last the session.
    @Test func errors() {
        let conversation = conversation(limits: limits { $0.errors = 3 }, after: ["EHLO x\r\n", "A\r\n"])
        #expect(conversation.pauses == 1)
        conversation.send("B\r\n")
        #expect(conversation.ending == nil)
        conversation.send("NOOP\r\nC\r\nNOOP\r\n")
        #expect(conversation.codes.suffix(3) == [250, 500, 421])
        #expect(conversation.ending == .closed)
        #expect(conversation.pauses == 3)
    }

    /// Errors within a message count, and take the message with them.
    @Test func errorsInTheMiddleOfATransaction() {
        let conversation = conversation(limits: limits { $0.errors = 1 }, after: envelopeGroups() + ["BDAT 3\r\nabc"])
        conversation.send("NONSENSE\r\n")
        #expect(conversation.codes.last == 421)
        #expect(conversation.discards == 1)
        #expect(conversation.messages.isEmpty)
        #expect(conversation.violations == [])
    }

    @Test func commandLength() {
        for (count, isTaken) in [(2046, true), (2047, false), (3000, false), (10_000, false)] {
            let conversation = conversation(after: ["EHLO x\r\n"])
            conversation.send("NOOP " + String(repeating: "x", count: count - 5) + "\r\n")
            #expect(conversation.statuses.last == (isTaken ? "250 2.0.0" : "500 5.5.2"), "\(count) octets and CR LF")
            conversation.send("NOOP\r\n")
            #expect(conversation.statuses.count == 4, "one reply for each line")
            #expect(conversation.statuses.last == "250 2.0.0")
        }
    }

    @Test func commandLengthAboveTheBuffer() {
        let conversation = conversation(limits: limits { $0.commandLength = 10_000 }, after: ["EHLO x\r\n"])
        conversation.send("NOOP " + String(repeating: "x", count: 9993) + "\r\n")
        #expect(conversation.statuses.last == "250 2.0.0")
        conversation.send("NOOP " + String(repeating: "x", count: 9994) + "\r\n")
        #expect(conversation.statuses.last == "500 5.5.2")
        #expect(conversation.violations == [])
    }

    @Test func declaredSize() {
        let conversation = conversation(limits: limits { $0.messageSize = 1000 }, after: ["EHLO x\r\n", "MAIL FROM:<a@b> SIZE=1001\r\n", "MAIL FROM:<a@b> SIZE=99999999999999999999\r\n", "MAIL FROM:<a@b> SIZE=1000\r\n"])
        #expect(conversation.statuses.suffix(3) == ["552 5.3.4", "552 5.3.4", "250 2.1.0"])
        #expect(conversation.lines.contains("250-SIZE 1000"))
    }

    @Test func messageSize() {
        let conversation = inData(limits: limits { $0.messageSize = 1000 })
        for _ in 0..<100 { conversation.send(String(repeating: "x", count: 98) + "\r\n") }
        #expect(conversation.discards == 1)
        conversation.send(".\r\n")
        #expect(conversation.statuses.last == "552 5.3.4")
        #expect(conversation.messages.isEmpty)
        #expect(conversation.violations == [])
    }

    /// A gigabyte of content, of chunk nobody wants, or of line without an end costs a buffer's worth of memory.
    @Test func memoryStaysBounded() {
        let block = Array((String(repeating: "x", count: 998) + "\r\n").utf8)
        let sixtyFour = Array(repeating: block, count: 64).flatMap { $0 }
        for start in [["DATA\r\n"], ["BDAT 1000000000\r\n"]] {
            let conversation = conversation(after: envelopeGroups() + start)
            for _ in 0..<100 { conversation.send(sixtyFour) }
            #expect(conversation.mostContent <= 65536 + 1024)
            #expect(conversation.mostReplies < 4096)
        }
        for start in ["BDAT 1000000000\r\n", ""] {
            let conversation = conversation(after: ["EHLO x\r\n", start])
            for _ in 0..<100 { conversation.send([UInt8](repeating: 0x78, count: 65536)) }
            #expect(conversation.dialogue.input.count <= 65536)
            #expect(conversation.mostReplies < 4096)
            #expect(conversation.violations == [])
        }
    }

    @Test func repliesToAFloodOfCommandsStayBounded() {
        for command in ["HELP\r\n", "NOOP\r\n", "\r\n", "BDAT 0\r\n"] {
            let conversation = conversation(after: envelopeGroups())
            conversation.send(Array(repeating: Array(command.utf8), count: 100_000).flatMap { $0 })
            #expect(conversation.mostReplies < 65536 / 6 * 128)
            #expect(conversation.violations == [])
        }
    }

    @Test(arguments: [[], ["EHLO x\r\n"], envelopeGroups(), envelopeGroups() + ["DATA\r\n", "half"], envelopeGroups() + ["BDAT 10\r\nhalf"]])
    func timeIsOver(groups: [String]) {
        let conversation = conversation(after: groups)
        conversation.timeIsOver()
        #expect(conversation.statuses.last == "421 4.4.2")
        #expect(conversation.ending == .closed)
        #expect(conversation.messages.isEmpty)
        #expect(conversation.violations == [])
    }
}
