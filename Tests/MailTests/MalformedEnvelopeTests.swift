// Files in the queue that are no messages of ours: told as such, whatever is in them.
import Testing
@testable import Mail

@Suite struct MalformedEnvelopeTests {
    @Test(arguments: [
        "\n", "\n\n", "semail\n\n", "semail 2\nreceived 1.000000\nfrom a@b\n\n", "Semail 1\nreceived 1.000000\nfrom a@b\n\n", "semail 1 \nreceived 1.000000\nfrom a@b\n\n",
        "semail 1\r\nreceived 1.000000\r\nfrom a@b\r\n\r\n", " semail 1\nreceived 1.000000\nfrom a@b\n\n",
        "semail 1\n\n", "semail 1\nreceived 1.000000\n\n", "semail 1\nfrom a@b\n\n", "semail 1\nfrom a@b\nto W c@d\n\n",
        "semail 1\nreceived 0.000000\nfrom a@b\n\n",
        "semail 1\nreceived\nfrom a@b\n\n", "semail 1\nreceived \nfrom a@b\n\n", "semail 1\nreceived 1\nfrom a@b\n\n", "semail 1\nreceived 1.\nfrom a@b\n\n", "semail 1\nreceived 1.00000\nfrom a@b\n\n",
        "semail 1\nreceived 1.0000000\nfrom a@b\n\n", "semail 1\nreceived .000001\nfrom a@b\n\n", "semail 1\nreceived -1.000000\nfrom a@b\n\n", "semail 1\nreceived 1.-00001\nfrom a@b\n\n",
        "semail 1\nreceived x.000000\nfrom a@b\n\n", "semail 1\nreceived 1.00000x\nfrom a@b\n\n", "semail 1\nreceived 1.000000.000000\nfrom a@b\n\n",
        "semail 1\nreceived 1000000000000.000000\nfrom a@b\n\n", "semail 1\nreceived 99999999999999999999.000000\nfrom a@b\n\n",
        "semail 1\nreceived 1.000000\nfrom\n\n", "semail 1\nreceived 1.000000\nfrom a\n\n", "semail 1\nreceived 1.000000\nfrom <a@b>\n\n", "semail 1\nreceived 1.000000\nfrom a@b c\n\n",
        "semail 1\nreceived 1.000000\nfrom a@b\nto\n\n", "semail 1\nreceived 1.000000\nfrom a@b\nto W\n\n", "semail 1\nreceived 1.000000\nfrom a@b\nto W \n\n",
        "semail 1\nreceived 1.000000\nfrom a@b\nto c@d\n\n", "semail 1\nreceived 1.000000\nfrom a@b\nto X c@d\n\n", "semail 1\nreceived 1.000000\nfrom a@b\nto w c@d\n\n",
        "semail 1\nreceived 1.000000\nfrom a@b\nto WD c@d\n\n", "semail 1\nreceived 1.000000\nfrom a@b\nto W  c@d\n\n", "semail 1\nreceived 1.000000\nfrom a@b\nto W c\n\n", "semail 1\nreceived 1.000000\nfrom a@b\nto W postmaster\n\n",
        "semail 1\nreceived 1.000000\nfrom a@b\nnospace\n\n",
        "semail 1\nreceived 1.000000\nby \nfrom a@b\n\n", "semail 1\nreceived 1.000000\nby a\nfrom a@b\n\n", "semail 1\nreceived 1.000000\nby <a@b>\nfrom a@b\n\n", "semail 1\nreceived 1.000000\nby a@b c\nfrom a@b\n\n",
        "semail 1\nreceived 1.000000\nfrom a@b\nto l c@d\n\n", "semail 1\nreceived 1.000000\nfrom a@b\nto  c@d\n\n", "semail 1\nreceived 1.000000\nfrom a@b\nto W\tc@d\n\n", "semail 1\nreceived 1.000000\nfrom a@b\nto W c@d \tnotify=NEVER\n\n",
        "semail 1\nreceived 1.000000\nfrom a@b\nto W c@d\tnotify\n\n", "semail 1\nreceived 1.000000\nfrom a@b\nto W c@d\t\n\n", "semail 1\nreceived 1.000000\nfrom a@b\nto W c@d\tnotify=\n\n", "semail 1\nreceived 1.000000\nfrom a@b\nto W c@d\tnotify=SOMETIMES\n\n",
        "semail 1\nreceived 1.000000\nfrom a@b\nto W c@d\tnotify=NEVER,DELAY\n\n", "semail 1\nreceived 1.000000\nfrom a@b\nto W \tnotify=NEVER\n\n",
    ])
    func isTold(text: String) {
        #expect(Envelope.read(text.octets) == .malformed)
    }

    /// RFC 5321 4.1.2 has no control characters in addresses: a queue file cannot smuggle one in either.
    @Test func controlCharactersInAddresses() {
        for control in (UInt8(0)...31).filter({ $0 != 10 }) + [127] {
            for line in ["from a@b", "to W a@b", "by a@b"] {
                let sender = line.hasPrefix("from") ? [] : "from c@d\n".octets
                var octets = line.octets
                octets.insert(control, at: octets.count - 2)
                #expect(Envelope.read("semail 1\nreceived 1.000000\n".octets + sender + octets + "\n\n".octets) == .malformed, "octet \(control)")
            }
        }
    }

    /// Nobody reads a gigabyte in search of an empty line.
    @Test func withoutAnEndItIsGivenUp() {
        let endless = [UInt8](repeating: 0x61, count: Envelope.sizeLimit)
        #expect(Envelope.read(endless) == .malformed)
        #expect(Envelope.read("semail 1\nreceived 1.000000\nfrom a@b\nx ".octets + endless) == .malformed)
    }

    /// The sender stands near the beginning, so foreign files are told by their first page.
    @Test func withoutASenderInItsFirstPageItIsNone() {
        let text = "semail 1\nreceived 1.000000\n".octets + [UInt8](repeating: 0x61, count: 5000)
        #expect(Envelope.read(text) == .malformed)
    }

    @Test func noTextCrashesTheReader() {
        var numbers = RepeatableNumbers(state: 2)
        let good = [EnvelopeTests.full.encoded(), EnvelopeTests.submitted.encoded()]
        for round in 0..<20_000 {
            var text = good[round % 2]
            for _ in 0..<Int.random(in: 1...4, using: &numbers) {
                let place = Int.random(in: 0..<text.count, using: &numbers)
                switch Int.random(in: 0..<3, using: &numbers) {
                case 0: text[place] = UInt8.random(in: 0...255, using: &numbers)
                case 1: text.remove(at: place)
                default: text.insert([10, 32, 46, 0, 0x57, 9][Int.random(in: 0..<6, using: &numbers)], at: place)
                }
            }
            guard case .envelope(let envelope, let offset) = Envelope.read(text) else { continue }
            #expect(offset <= text.count && text[offset - 1] == 10)
            #expect(envelope.recipients.allSatisfy { text[$0.markOffset] == $0.mark.rawValue })
            guard case .envelope(let again, _) = Envelope.read(envelope.encoded()) else { Issue.record("not read again: \(text.text)"); continue }
            #expect(again.sender == envelope.sender && again.recipients.map(\.address) == envelope.recipients.map(\.address) && again.received == envelope.received)
            #expect(again.submitter == envelope.submitter && again.returned == envelope.returned && again.envelopeID == envelope.envelopeID)
            #expect(again.recipients.map(\.notify) == envelope.recipients.map(\.notify) && again.recipients.map(\.originalRecipient) == envelope.recipients.map(\.originalRecipient))
        }
    }
}
