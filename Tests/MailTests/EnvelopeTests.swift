// The text before each message in the queue: written, read back, read piece by piece, and marked in place.
import Testing
@testable import Mail

@Suite struct EnvelopeTests {
    static let full = Envelope(
        received: 1_795_467_913_000_042, client: "192.0.2.1".octets, sender: Address("sender@example.org"),
        recipients: [Address("x@semail.test")!, Address("\"a b\"@semail.test")!], is8Bit: true, isSMTPUTF8: true)

    /// With all that the outgoing server adds.
    static let submitted: Envelope = {
        var envelope = Envelope(
            received: 1_795_467_913_000_042, client: "172.30.0.5".octets, sender: Address("ssow@semail.test"),
            to: [
                .init(Address("anna@example.org")!, notify: [.success, .delay], originalRecipient: "rfc822;Anna+40example.org".octets),
                .init(Address("\"a b\"@example.org")!, mark: .delayed, notify: .never),
                .init(Address("x@semail.test")!, mark: .done, originalRecipient: "utf-8;J\\x{F6}rg@example.org".octets), .init(Address("y@semail.test")!),
            ])
        envelope.returned = .headers
        envelope.envelopeID = "QQ+3D314159".octets
        envelope.submitter = Address("ssow@semail.test")
        return envelope
    }()

    private func read(_ text: [UInt8]) throws -> (Envelope, Int) {
        guard case .envelope(let envelope, let offset) = Envelope.read(text) else {
            Issue.record("not read: \(text.text)")
            throw AddressFault.syntax
        }
        return (envelope, offset)
    }

    /// Marks stand at places of the file; everything else is compared without them.
    private func withoutMarks(_ envelope: Envelope) -> Envelope {
        var copy = envelope
        for index in copy.recipients.indices { copy.recipients[index].markOffset = 0 }
        return copy
    }

    /// semail-queue.5 shows this; other programs may read it.
    @Test func theFormIsThis() {
        #expect(Self.full.encoded().text == """
            semail 1
            received 1795467913.000042
            client 192.0.2.1
            body 8bitmime
            smtputf8 yes
            from sender@example.org
            to W x@semail.test
            to W "a b"@semail.test


            """)
        #expect(Envelope(received: 1, sender: nil, recipients: []).encoded().text == "semail 1\nreceived 0.000001\nfrom \n\n")
    }

    @Test func theFormOfASubmittedOneIsThis() {
        #expect(Self.submitted.encoded().text == """
            semail 1
            received 1795467913.000042
            client 172.30.0.5
            ret HDRS
            envid QQ+3D314159
            by ssow@semail.test
            from ssow@semail.test
            to W anna@example.org\tnotify=SUCCESS,DELAY\torcpt=rfc822;Anna+40example.org
            to L "a b"@example.org\tnotify=NEVER
            to D x@semail.test\torcpt=utf-8;J\\x{F6}rg@example.org
            to W y@semail.test


            """)
    }

    static let several: [Envelope] = {
        var done = full
        done.recipients[1].mark = .done
        var all = [full, done, submitted]
        for returned in [nil, Returned.full, .headers] {
            for notify in [nil, Notify.never, .success, [.failure, .delay], [.success, .failure, .delay]] {
                for original in [nil, "rfc822;".octets, "rfc822;a+20b".octets, "x;notify=NEVER".octets] {
                    var envelope = submitted
                    envelope.returned = returned
                    envelope.envelopeID = original == nil ? nil : "id".octets
                    envelope.submitter = notify == nil ? nil : Address("\"o d\"@semail.test")
                    envelope.recipients = [.init(Address("a@b")!, notify: notify, originalRecipient: original), .init(Address("c@d")!, mark: .delayed, notify: notify)]
                    all.append(envelope)
                }
            }
        }
        for sender in [nil, Address("a@b"), Address("\"q \\\" q\"@[IPv6:::1]"), Address("ü@例子")] {
            for recipients in [["a@b"], ["\" \"@b", "c@d", "e@[192.0.2.1]"], (0..<300).map { "recipient\($0)@example.org" }] {
                for flags in 0..<4 {
                    all.append(Envelope(
                        received: 999_999 + flags, client: flags == 1 ? "2001:db8::1".octets : [], sender: sender, recipients: recipients.map { Address($0)! },
                        is8Bit: flags & 1 != 0, isSMTPUTF8: flags & 2 != 0))
                }
            }
        }
        return all
    }()

    @Test(arguments: several) func writtenItIsReadBack(envelope: Envelope) throws {
        let text = envelope.encoded()
        let (again, offset) = try read(text)
        #expect(withoutMarks(again) == envelope)
        #expect(offset == text.count)
        #expect(again.encoded() == text)
    }

    @Test func theMessageBeginsBehindTheEmptyLine() throws {
        let text = Self.full.encoded()
        for message in ["", "x", "\n", "to W intruder@example.org\n\n", "\n\n\n"] {
            let (again, offset) = try read(text + message.octets)
            #expect(offset == text.count)
            #expect(again.recipients.count == 2)
        }
    }

    /// qrunner reads the beginning and asks for more while the envelope is not there yet.
    @Test func everyBeginningIsIncompleteAndNoneMalformed() {
        let text = Self.full.encoded()
        for count in 0..<text.count { #expect(Envelope.read(Array(text[..<count])) == .incomplete, "after \(count) octets") }
    }

    @Test func alsoWhenItIsLong() {
        let text = Envelope(received: 1, sender: Address("a@b"), recipients: (0..<1000).map { Address("recipient\($0)@example.org")! }).encoded()
        #expect(text.count > 20_000)
        for count in stride(from: 4096, to: text.count, by: 997) { #expect(Envelope.read(Array(text[..<count])) == .incomplete) }
    }

    @Test func eachMarkIsOneOctetOverwrittenInPlace() throws {
        for text in [Self.full.encoded(), Self.submitted.encoded()] {
            let (envelope, _) = try read(text)
            for (index, recipient) in envelope.recipients.enumerated() {
                #expect(text[recipient.markOffset] == recipient.mark.rawValue)
                for mark in [Envelope.Mark.waiting, .delayed, .done] {
                    var marked = text
                    marked[recipient.markOffset] = mark.rawValue
                    var expected = envelope
                    expected.recipients[index].mark = mark
                    #expect(try read(marked).0 == expected)
                }
            }
        }
    }

    @Test func whoWaits() {
        #expect(Self.submitted.recipients.map(\.isWaiting) == [true, true, false, true])
    }

    /// Words behind a recipient that a later version may add; and wishes that this one does not know for what they are not.
    @Test func unknownWordsBehindARecipientMeanNothing() throws {
        let (envelope, _) = try read("semail 1\nreceived 1.000000\nfrom a@b\nto W c@d\tlater=x y\torcpt=a;b=c\tnotify=DELAY\tx=\nret SOME\n\n".octets)
        #expect(envelope.recipients == [.init(Address("c@d")!, notify: .delay, originalRecipient: "a;b=c".octets, markOffset: envelope.recipients[0].markOffset)])
        #expect(envelope.returned == nil)
    }

    /// A later version may add lines; this one passes over them.
    @Test func unknownLinesMeanNothing() throws {
        let text = "semail 1\nreceived 1.000000\nlater version\nfrom a@b\ndsn x=y z\nto W c@d\n\n".octets
        let (envelope, offset) = try read(text)
        #expect(envelope.sender == Address("a@b"))
        #expect(envelope.recipients.map(\.address) == [Address("c@d")!])
        #expect(text[envelope.recipients[0].markOffset] == 0x57)
        #expect(offset == text.count)
    }
}
