// BDAT (RFC 3030): a message in chunks, each told by its length and answered behind its last octet.
import Mail
import SMTP
import Testing

@Suite struct ChunkTests {
    @Test func chunksAreJoined() {
        let conversation = conversation(after: envelopeGroups() + ["BDAT 4\r\na\r\nb", "BDAT 3\r\n\r\nc", "BDAT 2 last\r\n\r\n"])
        #expect(conversation.statuses.suffix(3) == ["250 2.0.0", "250 2.0.0", "250 2.0.0"])
        #expect(conversation.lines.last == "250 2.0.0 queued as id1")
        #expect(conversation.messages.map(\.body) == ["a\nb\nc\n"])
    }

    /// Dots are not stuffed.
    @Test func dotsAreLeftAlone() {
        let conversation = conversation(after: envelopeGroups() + ["BDAT 11 LAST\r\n..a\r\n.\r\n.b\r"])
        #expect(conversation.messages.isEmpty)
        let another = inTwo("..a\r\n.\r\n.b\r\n")
        #expect(another.messages.map(\.body) == ["..a\n.\n.b\n"])
    }

    private func inTwo(_ content: String) -> Conversation {
        let octets = Array(content.utf8), half = octets.count / 2
        let conversation = conversation(after: envelopeGroups())
        conversation.send(Array("BDAT \(half)\r\n".utf8) + octets[..<half] + Array("BDAT \(octets.count - half) LAST\r\n".utf8) + octets[half...])
        return conversation
    }

    /// What lacks its last line end gets it; what has it gets no second.
    @Test(arguments: [("x", "x\n"), ("x\r\n", "x\n"), ("x\r\n\r\n", "x\n\n"), ("", "")]) func theLastLineEnds(content: String, stored: String) {
        let conversation = conversation(after: envelopeGroups() + ["BDAT \(content.utf8.count) LAST\r\n\(content)"])
        #expect(conversation.messages.map(\.body) == [stored])
        #expect(conversation.violations == [])
    }

    /// RFC 3030 2: no DATA within, no recipients after the beginning.
    @Test func theTransactionStaysWithBDAT() {
        let conversation = conversation(after: envelopeGroups() + ["BDAT 1\r\nx", "DATA\r\n", "RCPT TO:<y@semail.test>\r\n", "MAIL FROM:<a@b>\r\n"])
        #expect(conversation.statuses.suffix(3) == ["503 5.5.1", "503 5.5.1", "503 5.5.1"])
        conversation.send("BDAT 2 LAST\r\n\r\n")
        #expect(conversation.messages.map(\.body) == ["x\n"])
        #expect(conversation.messages[0].envelope.recipients.count == 1)
    }

    @Test(arguments: ["RSET\r\n", "EHLO again\r\n", "QUIT\r\n"]) func whatEndsTheTransactionDropsTheMessage(command: String) {
        let conversation = conversation(after: envelopeGroups() + ["BDAT 1\r\nx", command])
        #expect(conversation.discards == 1)
        if conversation.ending == nil {
            conversation.send("BDAT 1 LAST\r\nx")
            #expect(conversation.statuses.last == "503 5.5.1")
        }
        #expect(conversation.messages.isEmpty)
        #expect(conversation.violations == [])
    }

    /// The octets of a chunk nobody wants are never taken for commands.
    @Test(arguments: [["EHLO x\r\n"], ["EHLO x\r\n", "MAIL FROM:<a@b>\r\n"], []]) func unwantedChunks(groups: [String]) {
        let conversation = conversation(after: groups)
        let before = conversation.codes.count
        conversation.send("BDAT 23 LAST\r\nMAIL FROM:<forged@b.c>\nNOOP\r\n")
        #expect(conversation.statuses.dropFirst(before).last == "250 2.0.0")
        #expect(conversation.statuses.dropFirst(before).first == "503 5.5.1")
        #expect(conversation.statuses.count == before + 2)
    }

    /// How many octets follow is unknown then, and none of them may be taken for a command.
    @Test(arguments: ["BDAT", "BDAT x", "BDAT -1", "BDAT +1", "BDAT 1 FIRST", "BDAT 1 LAST LAST", "BDAT LAST", "BDAT 1LAST", "BDAT 0x1", "BDAT 9999999999999999999999", "BDAT 6 LAST ü", "BDAT 6\u{1}", "BDAT 6" + String(repeating: " ", count: 3000), "BDAT 6" + String(repeating: " ", count: 6000) + "LAST"])
    func malformedSizesEndTheSession(command: String) {
        let conversation = conversation(after: envelopeGroups() + ["\(command)\r\nQUIT\r\n"])
        #expect(conversation.codes.last == 501 || conversation.codes.last == 500)
        #expect(conversation.ending == .drained)
        #expect(conversation.messages.isEmpty)
    }

    @Test func tooBigInTheSecondChunk() {
        var limits = Limits()
        limits.messageSize = 10
        let conversation = conversation(limits: limits, after: envelopeGroups() + ["BDAT 8\r\n01234567", "BDAT 8\r\n01234567BDAT 1 LAST\r\nxNOOP\r\n"])
        #expect(conversation.statuses.suffix(4) == ["250 2.0.0", "552 5.3.4", "503 5.5.1", "250 2.0.0"])
        #expect(conversation.messages.isEmpty)
        #expect(conversation.violations == [])
    }
}
