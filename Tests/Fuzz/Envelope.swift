// Fuzz target: the reader of queue files.
import Mail

private func fail(_ sentence: String) -> Never { fatalError(sentence) }

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzEnvelope(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
    let text = Array(UnsafeBufferPointer(start: data, count: size))
    let whole = Envelope.read(text)

    // As qrunner reads it: a page, then more. What a beginning is taken for, the whole is too.
    for count in [text.count / 4, text.count / 2, text.count * 3 / 4, max(0, text.count - 1)] {
        let part = Envelope.read(Array(text[..<count]))
        if part == .incomplete || part == whole { continue }
        if part == .malformed, count >= 4096 { continue }
        fail("a beginning of \(count) octets read as \(part), the whole as \(whole)")
    }

    guard case .envelope(let envelope, let offset) = whole else { return 0 }
    if offset < 2 || offset > text.count || text[offset - 1] != 0x0a || text[offset - 2] != 0x0a { fail("the message begins at \(offset)") }
    if envelope.received <= 0 { fail("no time") }
    for recipient in envelope.recipients {
        if recipient.markOffset >= offset || text[recipient.markOffset] != recipient.mark.rawValue { fail("a mark that is none") }
    }
    for address in envelope.recipients.map(\.address) + [envelope.sender, envelope.submitter].compactMap({ $0 }) {
        if address.bytes.contains(where: { $0 < 0x20 || $0 == 0x7f }) || address.domain.isEmpty { fail("no address") }
    }

    // Encoded and read again it says the same, marks included.
    let encoded = envelope.encoded()
    guard case .envelope(var again, let end) = Envelope.read(encoded), end == encoded.count else { fail("not read again") }
    var expected = envelope
    for index in expected.recipients.indices { expected.recipients[index].markOffset = 0 }
    for index in again.recipients.indices { again.recipients[index].markOffset = 0 }
    if again != expected { fail("read again as another") }

    // One mark overwritten changes one recipient.
    if let first = envelope.recipients.first {
        var marked = text
        marked[first.markOffset] = 0x44
        guard case .envelope(let after, offset) = Envelope.read(marked), !after.recipients[0].isWaiting, after.recipients.dropFirst() == envelope.recipients.dropFirst() else { fail("a mark that changes more than itself") }
    }
    return 0
}
