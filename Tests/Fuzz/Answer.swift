// Fuzz target: the reader of name servers' answers, and the form in which names are asked for.
import DNS

private func fail(_ sentence: String) -> Never { fatalError(sentence) }

private let asked = Array("example.org".utf8)

private func check(_ name: [UInt8]) {
    if name.count > 253 { fail("a name that is too long") }
    if name.contains(where: { 0x41...0x5a ~= $0 }) { fail("a name with capitals") }
    if !name.isEmpty, name.split(separator: 0x2e, omittingEmptySubsequences: false).contains(where: { $0.isEmpty || $0.count > 63 }) { fail("a name of no labels") }
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzAnswer(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
    let message = Array(UnsafeBufferPointer(start: data, count: size))
    if let answer = Answer(message) {
        var count = 0
        for type in [RecordType.a, .aaaa, .mx, .txt] {
            let records = answer.records(type, of: asked)
            if records != answer.records(type, of: asked.map { 0x61...0x7a ~= $0 ? $0 - 32 : $0 }) { fail("capitals make another name") }
            count = max(count, records.count)
            for record in records {
                switch (type, record) {
                case (.a, .address(let octets)): if octets.count != 4 { fail("no IPv4 address") }
                case (.aaaa, .address(let octets)): if octets.count != 16 { fail("no IPv6 address") }
                case (.mx, .exchanger(_, let name)): check(name)
                case (.txt, .text(let text)): if text.count >= size { fail("a text that is longer than the message") }
                default: fail("a record of another type")
                }
            }
        }
        if count > 256 { fail("too many records") }
    }
    // The same octets as somebody's domain.
    if let name = DomainName.ascii(message) {
        check(name)
        if name.isEmpty || DomainName.ascii(name) != name { fail("asked for by another name the second time") }
    }
    return 0
}
