// The network cuts a session anywhere. Wherever it cuts, the replies, the messages and the end are the same.
import SMTP
import Testing

@Suite struct SplitTests {
    private static let shortLines: Limits = {
        var limits = Limits()
        limits.commandLength = 100
        limits.errors = 6
        return limits
    }()

    static let scripts: [Script] = [
        Script("one message", envelopeGroups() + ["DATA\r\n", "Subject: x\r\n\r\nhello\r\n..dot\r\n...\r\n\r\n.\r\n", "QUIT\r\n"]),
        Script("pipelining behind the end of data", envelopeGroups() + [
            "DATA\r\n", "one\r\n.\r\nMAIL FROM:<>\r\nRCPT TO:<a@semail.test>\r\nRCPT TO:<nobody@semail.test>\r\nRCPT TO:<two@semail.test>\r\nDATA\r\n", "two\r\n.\r\nRSET\r\nNOOP x\r\nQUIT\r\n",
        ]),
        Script("an empty message", envelopeGroups() + ["DATA\r\n", ".\r\nQUIT\r\n"]),
        Script("chunks", envelopeGroups() + ["BDAT 7\r\nab\r\nc\r\nBDAT 4\r\n.\r\n.BDAT 1\r\n\rBDAT 7 LAST\r\n\nfine\r\nQUIT\r\n"]),
        Script("chunks of one octet", envelopeGroups() + ["BDAT 1\r\naBDAT 1\r\n\rBDAT 1\r\n\nBDAT 1\r\n.BDAT 2 LAST\r\n\r\nQUIT\r\n"]),
        Script("a chunk that looks like commands", envelopeGroups() + ["BDAT 27 LAST\r\nQUIT\r\n.\r\nMAIL FROM:<a@b>\r\nNOOP\r\n"]),
        Script("an empty last chunk", envelopeGroups() + ["BDAT 5\r\nhelloBDAT 0 LAST\r\nQUIT\r\n"]),
        Script("nothing but an empty last chunk", envelopeGroups() + ["BDAT 0 LAST\r\nQUIT\r\n"]),
        Script("an unwanted chunk", ["EHLO client.example\r\n", "BDAT 20 LAST\r\nMAIL FROM:<a@b.ex>\r\nNOOP\r\nQUIT\r\n"]),
        Script("faults and refusals", ["EHLO client.example\r\n", "MAIL FROM:<a@b> SIZE=x\r\nMAIL FROM:<ü@b>\r\nMAIL FROM:<a@b> FOO\r\nRCPT TO:<x@y>\r\nNONSENSE\r\n\r\n \r\nHELP\r\nVRFY x\r\nQUIT\r\n"]),
        Script("too many errors", limits: shortLines, ["EHLO client.example\r\n", "A\r\nB\r\nC\r\nD\r\nE\r\nF\r\nG\r\nNOOP\r\n"]),
        Script("lines too long", limits: shortLines, ["EHLO client.example\r\n", "NOOP " + String(repeating: "x", count: 94) + "\r\nNOOP\r\nNOOP " + String(repeating: "x", count: 93) + "\r\nNOOP " + String(repeating: "y", count: 150) + "\r\nQUIT\r\n"]),
        Script("a bare LF in a line too long", limits: shortLines, ["EHLO client.example\r\n", "NOOP " + String(repeating: "y", count: 150) + "\nNOOP\r\n"]),
        Script("a bare CR in a line too long", limits: shortLines, ["EHLO client.example\r\n", "NOOP " + String(repeating: "y", count: 150) + "\rNOOP\r\n"]),
        Script("a bare LF in a command", ["EHLO client.example\r\n", "NOOP\nQUIT\r\n"]),
        Script("a bare CR in a command", ["EHLO client.example\r\n", "NOOP\rQUIT\r\n"]),
        Script("a bare LF in content", envelopeGroups() + ["DATA\r\n", "a\r\nb\nc\r\n.\r\nQUIT\r\n"]),
        Script("a bare CR in content", envelopeGroups() + ["DATA\r\n", "a\r\nb\rc\r\n.\r\nQUIT\r\n"]),
        Script("a bare CR before the end", envelopeGroups() + ["DATA\r\n", "a\r\r\n.\r\nQUIT\r\n"]),
        Script("a bare CR at the end of the last chunk", envelopeGroups() + ["BDAT 2 LAST\r\na\rQUIT\r\n"]),
        Script("by hand", byHand: true, ["HELO me\nMAIL FROM: a@b\nRCPT TO: x@semail.test\nDATA\nSubject: x\n\n.. \n..\n.\nEHLO again\nMAIL FROM:<>\nRCPT TO:postmaster\nBDAT 3\na\nbBDAT 0 LAST\nQUIT\n"]),
        Script("by hand with CR LF", byHand: true, ["HELO me\r\nMAIL FROM:<a@b>\r\nRCPT TO:<x@semail.test>\r\nDATA\r\nSubject: x\r\n\r\n..\r\n.\r\nQUIT\r\n"]),
        Script("by hand with both", byHand: true, ["HELO me\nMAIL FROM:<a@b>\r\nRCPT TO:<x@semail.test>\nDATA\nSubject: x\r\n\n..\r\n\n.\r\nRSET\nNOOP\r\nQUIT\n"]),
    ]

    @Test(arguments: scripts) func inTwoAtEveryPlace(script: Script) {
        let whole = script.play()
        for (index, group) in script.groups.enumerated() {
            for place in 1..<group.count {
                let outcome = script.play { $0 == index ? [Array($1[..<place]), Array($1[place...])] : [$1] }
                #expect(outcome == whole, "group \(index) cut at \(place)")
                if outcome != whole { return }
            }
        }
    }

    @Test(arguments: scripts) func octetByOctet(script: Script) {
        #expect(script.play { $1.map { [$0] } } == script.play())
    }

    @Test(arguments: scripts) func inPiecesOfEverySize(script: Script) {
        let whole = script.play()
        for size in 2...40 {
            let outcome = script.play { _, group in stride(from: 0, to: group.count, by: size).map { Array(group[$0..<min($0 + size, group.count)]) } }
            #expect(outcome == whole, "in pieces of \(size)")
            if outcome != whole { return }
        }
    }

    /// So that the comparisons above are not between nothings.
    @Test func theScriptsDoWhatTheyAreFor() throws {
        let outcomes = Dictionary(uniqueKeysWithValues: Self.scripts.map { ($0.name, $0.play()) })
        #expect(outcomes["one message"]?.messages.map(\.body) == ["Subject: x\n\nhello\n.dot\n..\n\n"])
        #expect(outcomes["pipelining behind the end of data"]?.messages.map(\.body) == ["one\n", "two\n"])
        #expect(outcomes["pipelining behind the end of data"]?.messages.last?.envelope.recipients.count == 3)
        #expect(outcomes["an empty message"]?.messages.map(\.body) == [""])
        #expect(outcomes["chunks"]?.messages.map(\.body) == ["ab\nc\n.\n.\nfine\n"])
        #expect(outcomes["chunks of one octet"]?.messages.map(\.body) == ["a\n.\n"])
        #expect(outcomes["a chunk that looks like commands"]?.messages.count == 1)
        #expect(outcomes["nothing but an empty last chunk"]?.messages.map(\.body) == [""])
        #expect(outcomes["an unwanted chunk"]?.sent.contains("503 5.5.1") == true)
        #expect(outcomes["too many errors"]?.sent.hasSuffix("421 4.7.0 Too many errors; good-bye\r\n") == true)
        for name in ["a bare LF in content", "a bare CR in content", "a bare CR before the end", "a bare CR at the end of the last chunk", "a bare LF in a command", "a bare CR in a command"] {
            #expect(outcomes[name]?.messages == [])
            #expect(outcomes[name]?.ending == .drained)
        }
        #expect(outcomes["by hand"]?.messages.map(\.body) == ["Subject: x\n\n. \n.\n", "a\nb\n"])
        #expect(outcomes["by hand with CR LF"]?.messages.map(\.body) == ["Subject: x\n\n.\n"])
        #expect(outcomes["by hand with both"]?.messages.map(\.body) == ["Subject: x\n\n.\n\n"])
    }
}
