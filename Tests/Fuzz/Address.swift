// Fuzz target: the parser of addresses and paths.
import Mail

private func fail(_ sentence: String) -> Never { fatalError(sentence) }

private func check(_ address: Address, isBarePostmaster: Bool = false) {
    let bytes = address.bytes
    if bytes.contains(where: { $0 < 0x20 || $0 == 0x7f }) { fail("a control character") }
    if address.localPart.count > 64 || address.domain.count > 255 { fail("too long") }
    guard String(validating: bytes, as: UTF8.self) != nil else { fail("no UTF-8") }
    if address.isASCII != bytes.allSatisfy({ $0 < 0x80 }) { fail("ASCII or not") }
    if isBarePostmaster {
        if !address.isNamed("postmaster") || !address.domain.isEmpty { fail("only postmaster needs no domain") }
        return
    }
    if address.domain.isEmpty { fail("no domain") }
    guard let again = Address(bytes) else { fail("not read back: \(String(decoding: bytes, as: UTF8.self))") }
    if again != address || again.key != address.key || again.bytes != bytes { fail("read back as another") }
    if address.key.contains(where: { 0x41...0x5a ~= $0 }) { fail("a key with capitals") }
    // A stranger's address goes through a queue file unharmed.
    let envelope = Envelope(received: 1, sender: address, recipients: [address])
    guard case .envelope(let read, _) = Envelope.read(envelope.encoded()), read.sender == address, read.recipients.map(\.address) == [address] else { fail("lost in an envelope") }
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzAddress(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
    let text = Array(UnsafeBufferPointer(start: data, count: size))
    if let address = Address(text) {
        check(address)
        var parser = AddressParser([0x3c] + text + [0x3e])
        // In brackets it is the same, unless the whole is too long for a path.
        switch parser.reversePath() {
        case .success(let same): if same != address || !parser.isAtEnd { fail("another address in brackets") }
        case .failure(let fault): if fault != .tooLong || text.count <= 254 { fail("refused in brackets") }
        }
    }
    var back = AddressParser(text)
    if case .success(let sender) = back.reversePath() {
        if let sender { check(sender) } else if !text.starts(with: [0x3c, 0x3e]) { fail("a null sender out of nothing") }
        if !text.elementsEqual(text.dropLast(back.rest.count) + back.rest) || text.count - back.rest.count > 256 { fail("a path too long") }
    }
    var on = AddressParser(text)
    if case .success(let recipient) = on.forwardPath() {
        check(recipient, isBarePostmaster: recipient.domain.isEmpty)
        if text.count - on.rest.count > 256 { fail("a path too long") }
        // Whoever may receive may send.
        var again = AddressParser(text)
        if !recipient.domain.isEmpty, (try? again.reversePath().get()) != recipient { fail("two readings of one path") }
    }
    if AddressLiteral.isValid(text), text.contains(where: { $0 <= 0x20 || $0 == 0x7f || $0 == 0x5b || $0 == 0x5d }), !text.contains(0x3a) { fail("no literal") }
    return 0
}
