// Fuzz target: what Courier asks of courier-auth. The octets come cut in pieces, the first octet says how; however they were cut, the
// requests are the same, every name and password has its bound, and nothing that is waited for grows without one.

private func fail(_ sentence: String) -> Never { fatalError(sentence) }

private func isName(_ bytes: [UInt8]) -> Bool { 1...RequestReader.mostName ~= bytes.count && !bytes.contains { $0 < 0x20 || $0 == 0x7f } }

private func check(_ request: Request) {
    switch request {
    case .login(let service, let user, let password, let client):
        if !isName(service) || !isName(user) { fail("a name out of bounds") }
        // As run/auth takes it: fields that NUL ends.
        if password.count > RequestReader.mostPassword || password.contains(0) || password.contains(0x0a) { fail("a password out of bounds") }
        if client.count > 64 || client.contains(where: { $0 <= 0x20 || $0 >= 0x7f }) { fail("a client out of bounds") }
    case .find(let service, let user):
        if !isName(service) || !isName(user) { fail("a name out of bounds") }
    case .list, .refused, .malformed: break
    }
}

/// All requests up to the first that is none.
private func requests(_ text: [UInt8], pieces: (Int) -> Int) -> [Request] {
    var reader = RequestReader()
    var found: [Request] = []
    var place = 0
    while place < text.count {
        let size = min(max(1, pieces(place)), text.count - place)
        reader.take(Array(text[place..<place + size]))
        place += size
        while let request = reader.next() {
            check(request)
            found.append(request)
            if request == .malformed { return found }
        }
    }
    return found
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzCourier(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
    guard size > 0 else { return 0 }
    let cut = Int(data[0])
    let text = Array(UnsafeBufferPointer(start: data, count: size).dropFirst())
    let whole = requests(text) { _ in text.count }
    if requests(text, pieces: { _ in 1 }) != whole { fail("other requests, octet by octet") }
    if requests(text, pieces: { 1 + ($0 &* 31 + cut) % 97 }) != whole { fail("other requests, in pieces") }
    // A whole request has at least a line end; so there are no more of them than those.
    if whole.count > text.count { fail("requests out of nothing") }
    for request in whole {
        if case .find(let service, let user) = request {
            var again = RequestReader()
            again.take(Array("PRE . ".utf8) + service + [0x20] + user + [0x0a])
            // Its own spelling reads the same, but for blanks at the beginning of a name, which the protocol cannot carry.
            if user.first != 0x20, service.allSatisfy({ $0 != 0x20 }), again.next() != request { fail("not read back") }
        }
    }
    let answer = Answer.person(.closed(Array("a@b".utf8), "none")).encoded
    if answer?.suffix(3).elementsEqual([0x0a, 0x2e, 0x0a]) != true { fail("an answer without an end") }
    return 0
}
