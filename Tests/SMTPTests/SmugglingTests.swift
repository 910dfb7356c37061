// End-of-data sequences that are none (RFC 5321 4.1.1.4: CRLF.CRLF and nothing else): none of them ends a message, and none lets a
// second message out of the first.
import Testing
@testable import SMTP

@Suite struct SmugglingTests {
    private static let smuggled = "MAIL FROM:<forged@example.org>\r\nRCPT TO:<victim@semail.test>\r\nDATA\r\nFrom: forged\r\n\r\nsmuggled\r\n.\r\nQUIT\r\n"

    /// With a bare CR or LF in it: refused, closed, nothing in the queue.
    static let bare = [
        "\n.\n", "\n.\r", "\n.\r\n", "\r.\n", "\r.\r", "\r.\r\n", "\r\n.\n", "\r\n.\r", "\n\n.\n\n", "\n\n.\r\n", "\r\n\n.\r\n", "\r\n.\r\r\n", "\r\n\r.\r\n", "\r\r\n.\r\n", "\r\n.\r\0\n", "\r\0\n.\r\n",
        "\n.\n.\r\n", "\r\n.\n\r\n", "\n\r.\n\r", "\r\n..\n", "\r\n..\r", "x\n", "\r", "\n",
    ]

    /// Without: content like other content.
    static let plain = [
        "\r\n.\0\r\n", "\r\n\0.\r\n", "\r\n. \r\n", "\r\n .\r\n", "\r\n.\t\r\n", "\r\n..\r\n", "\r\n.\u{85}", "\u{2028}.\u{2028}", "\u{b}.\u{b}", "\u{c}.\u{c}", "\r\n.x\r\n", "\r\n\u{feff}.\r\n", ".",
    ]

    @Test(arguments: bare) func aBareLineEndEndsTheSession(sequence: String) {
        let content = Array(("Subject: x\r\n\r\nhello" + sequence + Self.smuggled).utf8)
        for place in 0..<content.count {
            let conversation = inData()
            conversation.send(Array(content[..<place]))
            conversation.send(Array(content[place...]))
            #expect(conversation.messages.isEmpty, "cut at \(place)")
            #expect(conversation.statuses.last == "550 5.6.0")
            #expect(conversation.lines.last?.contains("nc -C") == true)
            #expect(conversation.ending == .drained)
            #expect(conversation.discards == 1)
            #expect(conversation.violations == [])
        }
    }

    @Test(arguments: plain) func whatOnlyLooksLikeAnEndIsContent(sequence: String) {
        let conversation = inData()
        conversation.send("Subject: x\r\n\r\nhello" + sequence + Self.smuggled)
        // The one end is that of the smuggled text, all of which was content.
        #expect(conversation.messages.count == 1)
        #expect(conversation.messages.first?.body.contains("MAIL FROM:<forged@example.org>\n") == true)
        #expect(conversation.messages.first?.body.contains("smuggled\n") == true)
        #expect(conversation.statuses.last == "221 2.0.0")
        #expect(conversation.lookUps.count == 1)
        #expect(conversation.violations == [])
    }

    /// The same in chunks: there is no end but the count.
    @Test(arguments: bare + plain + ["\r\n.\r\n"]) func inChunksTheCountAloneEnds(sequence: String) {
        let content = "hello" + sequence + Self.smuggled
        for size in [1, 7, content.utf8.count] {
            let conversation = conversation(after: envelopeGroups())
            let octets = Array(content.utf8)
            for start in stride(from: 0, to: octets.count, by: size) where conversation.ending == nil {
                let part = octets[start..<min(start + size, octets.count)]
                conversation.send(Array("BDAT \(part.count)\(part.endIndex == octets.count ? " LAST" : "")\r\n".utf8) + part)
            }
            let isBare = ContentTests.expectedCounted(octets) == nil
            #expect(conversation.messages.count == (isBare ? 0 : 1))
            if isBare { #expect(conversation.ending == .drained) } else { #expect(conversation.messages.first?.body.contains("\nDATA\n") == true) }
            #expect(conversation.lookUps.count == 1)
            #expect(conversation.violations == [])
        }
    }

    @Test(arguments: ["NOOP\n", "NOOP\r", "NOOP\n\r", "NO\nOP\r\n", "NO\rOP\r\n", "\nNOOP\r\n", "\rNOOP\r\n", "MAIL FROM:<a@b>\nRCPT TO:<x@semail.test>\r\n", "NOOP\r\r\n"])
    func inCommandsToo(text: String) {
        let conversation = conversation(after: ["EHLO client.example\r\n"])
        conversation.send(text + "NOOP\r\n")
        #expect(conversation.statuses.last == "500 5.5.2")
        #expect(conversation.lines.last?.contains("nc -C") == true)
        #expect(conversation.ending == .drained)
        #expect(conversation.lookUps.isEmpty)
        #expect(conversation.violations == [])
    }

    /// A line too long is answered and passed over to its end, and that end is CR LF like any other.
    @Test(arguments: ["\n", "\r", "\r\r\n", "\n\r\n"]) func inLinesTooLongToo(end: String) {
        for count in [3000, 5000, 10_000] {
            let conversation = conversation(after: ["EHLO client.example\r\n"])
            conversation.send("NOOP " + String(repeating: "x", count: count) + end + "MAIL FROM:<forged@example.org>\r\n")
            #expect(!conversation.codes.dropFirst(2).contains(250), "of \(count) octets")
            #expect(conversation.ending == .drained, "of \(count) octets")
        }
    }
}
