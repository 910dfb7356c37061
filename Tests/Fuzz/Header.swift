// Fuzz target: the header section of a submitted message, and the addresses in its fields.
//
// The input's first octet says how it is cut: 0xff octet by octet, else in pieces of so many octets. The rest is a message with LF line
// ends, and the body of an address field.
import Mail
@testable import SMTP

private func fail(_ sentence: String) -> Never { fatalError(sentence) }

private let from = Array("ssow@semail.test".utf8), date = Array("Mon, 23 Nov 2026 21:05:13 +0000".utf8), messageID = Array("id@semail.test".utf8)

/// The message through the real thing, in pieces of a length; nil: it keeps more than it may.
private func completed(_ message: [UInt8], pieces: Int) -> (stored: [UInt8], header: SubmissionHeader)? {
    var content = Content(.counted, limits: Limits(), takesLF: true, submission: SubmissionHeader(.init(from: from, date: date, messageID: messageID)))
    var stored: [UInt8] = []
    var start = 0
    while start < message.count {
        let end = min(message.count, start + pieces)
        let (taken, hasEnded) = message[start..<end].withUnsafeBytes { content.take($0, into: &stored) }
        if content.fault != nil { return nil }
        if hasEnded || taken != end - start { fail("\(taken) of \(end - start) octets taken") }
        start = end
    }
    content.end(into: &stored)
    guard let header = content.submission else { fail("no header") }
    if !header.isInBody { fail("a message that is complete, and still in its header") }
    return (stored, header)
}

private func checkMessage(_ message: [UInt8], pieces: Int) {
    // A CR alone is refused before the header is looked at.
    if message.contains(0x0d) { return }
    let plain = PlainHeader.completed(message, from: from, date: date, messageID: messageID)
    for size in [pieces, 1, max(1, message.count)] {
        guard let (stored, header) = completed(message, pieces: size) else { fail("refused") }
        if stored != plain.stored { fail("in pieces of \(size): \(String(decoding: stored, as: UTF8.self))\nnot: \(String(decoding: plain.stored, as: UTF8.self))") }
        if header.identities != plain.identities || header.hasOneFrom != (plain.fromFields <= 1) { fail("other senders") }
        // What would be refused has no other fault than its two From fields.
        let faults = PlainHeader.faults(stored)
        if header.hasOneFrom ? !faults.isEmpty : faults.count != 1 { fail(faults.joined(separator: ", ")) }
    }
    // What is complete is not changed any more.
    if plain.fromFields <= 1, let (again, _) = completed(plain.stored, pieces: pieces), again != plain.stored { fail("completed once more, it is another") }
}

private func checkList(_ body: [UInt8]) {
    guard let addresses = AddressList.parse(body) else { return }
    for address in addresses {
        if address.domain.isEmpty || address.bytes.contains(where: { $0 < 0x20 || $0 == 0x7f }) { fail("no address") }
        guard Address(address.bytes) == address, AddressList.parse(address.bytes) == [address] else { fail("not read back: \(String(decoding: address.bytes, as: UTF8.self))") }
        // Every address stands in the field: of its domain each word, in any case as it is.
        for label in address.domain.split(separator: 0x2e) where !body.contains(sequence: Array(label)) && !address.hasLiteralDomain { fail("a domain out of nothing") }
    }
    let written = Array(addresses.map(\.bytes).joined(separator: Array(", ".utf8)))
    if AddressList.parse(written) != addresses { fail("the list is not read back") }
    for (before, after) in [("\n\t", "\n"), (" (a (b) \\) ) ", "(x@y)"), (",,", ",")] {
        if AddressList.parse(Array(before.utf8) + body + Array(after.utf8)) != addresses { fail("other addresses between \(before) and \(after)") }
    }
    if AddressList.parse(body + Array(", z@semail.test".utf8)) != addresses + [Address("z@semail.test")!] { fail("one more changes the others") }
}

extension Array where Element == UInt8 {
    fileprivate func contains(sequence: [UInt8]) -> Bool {
        guard count >= sequence.count else { return false }
        return (0...(count - sequence.count)).contains { self[$0..<($0 + sequence.count)].elementsEqual(sequence) }
    }
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzHeader(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
    let input = Array(UnsafeBufferPointer(start: data, count: size))
    guard let first = input.first else { return 0 }
    let text = Array(input.dropFirst())
    checkMessage(text, pieces: first == 0xff ? 1 : Int(first) + 1)
    checkList(text)
    return 0
}
