// The network cuts a session anywhere. Wherever it cuts, the replies, the messages and the end are the same.
import Mail
import SMTP
import Testing

@Suite struct SplitTests {
    private static let shortLines: Limits = {
        var limits = Limits()
        limits.commandLength = 100
        limits.errors = 6
        return limits
    }()

    static let ssow = Submitter.mailbox(Address("ssow@semail.test")!)

    /// A message of the outgoing server up to its content.
    static func submission(_ content: String, from sender: String = "ssow@semail.test") -> [String] {
        ["EHLO client.example\r\n", "MAIL FROM:<\(sender)> RET=HDRS ENVID=a+2Bb\r\nRCPT TO:<anna@example.org> NOTIFY=SUCCESS,DELAY ORCPT=rfc822;a+3Db\r\nRCPT TO:<x@semail.test>\r\nDATA\r\n", content]
    }

    static let submissions: [Script] = [
        Script("a complete header", as: ssow, submission("From: Anna <ssow@semail.test>\r\nDate: x\r\nMessage-ID: <y>\r\nSubject:\r\n\tfolded\r\n\r\nBcc: text\r\n.\r\nQUIT\r\n")),
        Script("a header to be completed", as: ssow, submission("Bcc: a@b\r\n\tc@d\r\nfRoM : ssow@semail.test\r\n ,ssow@semail.test\r\nBCC : x\r\nSubject: y\r\n\r\ntext\r\n.\r\nQUIT\r\n")),
        Script("no header", as: ssow, submission(" text\r\nFrom: other@example.org\r\n..\r\n.\r\nQUIT\r\n")),
        Script("all header", as: ssow, submission("X: y\r\nFrom: ssow@semail.test\r\n.\r\nQUIT\r\n")),
        Script("a line that is no field", as: ssow, submission("From: ssow@semail.test\r\nFr om: other@example.org\r\nBcc: x\r\n.\r\nQUIT\r\n")),
        Script("two From fields", as: ssow, submission("From: ssow@semail.test\r\nFrom: ssow@semail.test\r\n\r\n.\r\nMAIL FROM:<ssow@semail.test>\r\nQUIT\r\n")),
        Script("a foreign From", as: ssow, submission("From: \"ssow@semail.test\" <other@semail.test>\r\n\r\n.\r\nMAIL FROM:<other@semail.test>\r\nQUIT\r\n")),
        Script("a From that cannot be read", as: ssow, submission("Sender: (\r\n\t<ssow@semail.test>\r\n\r\n.\r\nNOOP\r\nQUIT\r\n")),
        Script("senders of the host", as: .host, submission("From: a@semail.test, b@semail.test\r\nSender: a@semail.test\r\n\r\n.\r\nNOOP\r\nQUIT\r\n", from: "c@semail.test")),
        Script("foreign senders of the host", as: .host, submission("From: a@semail.test, b@other.test, c@other.test\r\nSender: <\r\n\r\n.\r\nMAIL FROM:<d@other.test>\r\nMAIL FROM:<e@trouble.test>\r\nQUIT\r\n")),
        Script("a header in chunks", as: ssow, ["EHLO client.example\r\n", "MAIL FROM:<ssow@semail.test>\r\nRCPT TO:<anna@example.org>\r\n", "BDAT 2\r\nFrBDAT 18\r\nom: ssow@semail.teBDAT 6\r\nst\r\nBcBDAT 4\r\nc: xBDAT 4\r\n\r\n\tyBDAT 0\r\nBDAT 5 LAST\r\n\r\n\r\nXQUIT\r\n"]),
        Script("AUTH PLAIN", as: .nobody, ["EHLO client.example\r\n", "MAIL FROM:<ssow@semail.test>\r\nAUTH PLAIN AHNzb3cAd3Jvbmc=\r\n", "AUTH PLAIN\r\n", "AHNzb3cAcmlnaHQ=\r\n", "AUTH PLAIN\r\n", "MAIL FROM:<ssow@semail.test>\r\nQUIT\r\n"]),
        Script("AUTH LOGIN", as: .nobody, ["EHLO client.example\r\n", "AUTH LOGIN\r\n", "*\r\n", "AUTH LOGIN c3Nvdw==\r\n", "c2xvdw==\r\n", "AUTH LOGIN\r\n", "c3Nvdw==\r\n", "ZG93bg==\r\n", "AUTH LOGIN =\r\n", "cmlnaHQ=\r\n", "AUTH LOGIN\r\n", "c3Nvdw==\r\n", "cmlnaHQ=\r\n", "EHLO again\r\n", "QUIT\r\n"]),
        Script("three wrong passwords", as: .nobody, ["EHLO client.example\r\n", "AUTH PLAIN AGEAYg==\r\n", "AUTH PLAIN YgBhAGM=\r\n", "AUTH LOGIN YQ==\r\n", "\r\n", "NOOP\r\n"]),
        Script("a password line too long", as: .nobody, limits: shortLines, ["EHLO client.example\r\n", "AUTH PLAIN\r\n", String(repeating: "A", count: 120) + "\r\nNOOP\r\nQUIT\r\n"]),
        Script("by hand", byHand: true, as: .host, ["EHLO me\nMAIL FROM: a@semail.test\nRCPT TO: anna@example.org\nDATA\nBcc: x\n y\nSubject: x\n\n.\nAUTH LOGIN\nYQ==\ncmlnaHQ=\nMAIL FROM:<b@semail.test>\nQUIT\n"]),
    ]

    static let scripts: [Script] = submissions + [
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
        Script("by hand at the inbound server", byHand: true, ["HELO me\nMAIL FROM: a@b\nRCPT TO: x@semail.test\nDATA\nSubject: x\n\n.. \n..\n.\nEHLO again\nMAIL FROM:<>\nRCPT TO:postmaster\nBDAT 3\na\nbBDAT 0 LAST\nQUIT\n"]),
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
        #expect(outcomes["by hand at the inbound server"]?.messages.map(\.body) == ["Subject: x\n\n. \n.\n", "a\nb\n"])
        #expect(outcomes["by hand with CR LF"]?.messages.map(\.body) == ["Subject: x\n\n.\n"])
        #expect(outcomes["by hand with both"]?.messages.map(\.body) == ["Subject: x\n\n.\n\n"])
    }
    @Test func theSubmissionsDoWhatTheyAreFor() throws {
        let outcomes = Dictionary(uniqueKeysWithValues: Self.submissions.map { ($0.name, $0.play()) })
        let added = "Date: Mon, 23 Nov 2026 21:05:13 +0000\nMessage-ID: <id1@mail.semail.test>\n"
        #expect(outcomes["a complete header"]?.messages.map(\.body) == ["From: Anna <ssow@semail.test>\nDate: x\nMessage-ID: <y>\nSubject:\n\tfolded\n\nBcc: text\n"])
        #expect(outcomes["a header to be completed"]?.messages.map(\.body) == ["fRoM : ssow@semail.test\n ,ssow@semail.test\nSubject: y\n\(added)\ntext\n"])
        #expect(outcomes["no header"]?.messages.map(\.body) == ["From: <ssow@semail.test>\n\(added)\n text\nFrom: other@example.org\n.\n"])
        #expect(outcomes["all header"]?.messages.map(\.body) == ["X: y\nFrom: ssow@semail.test\n\(added)"])
        #expect(outcomes["a line that is no field"]?.messages.map(\.body) == ["From: ssow@semail.test\n\(added)\nFr om: other@example.org\nBcc: x\n"])
        for name in ["two From fields", "a foreign From", "a From that cannot be read"] { #expect(outcomes[name]?.messages == [] && outcomes[name]?.sent.contains("550 5.7.1") == true, "\(name)") }
        #expect(outcomes["senders of the host"]?.senderLookUps.count == 3)
        #expect(outcomes["senders of the host"]?.messages.first?.envelope.submitter == Address("c@semail.test"))
        #expect(outcomes["foreign senders of the host"]?.messages == [])
        #expect(outcomes["foreign senders of the host"]?.sent.contains("451 4.3.0") == true)
        #expect(outcomes["a header in chunks"]?.messages.map(\.body) == ["From: ssow@semail.test\n\(added)\nX\n"])
        #expect(outcomes["AUTH PLAIN"]?.sent.contains("530 5.7.0") == true)
        #expect(outcomes["AUTH PLAIN"]?.sent.contains("235 2.7.0") == true)
        #expect(outcomes["AUTH LOGIN"]?.questions.count == 3)
        #expect(outcomes["three wrong passwords"]?.ending == .closed)
        #expect(outcomes["by hand"]?.messages.first?.envelope.submitter == Address("a@semail.test"))
        let envelope = try #require(outcomes["a complete header"]?.messages.first?.envelope)
        #expect(envelope.returned == .headers && envelope.envelopeID == Array("a+2Bb".utf8))
        #expect(envelope.recipients.map(\.notify) == [[.success, .delay], nil])
        #expect(envelope.recipients.map(\.originalRecipient) == [Array("rfc822;a+3Db".utf8), nil])
    }
}
