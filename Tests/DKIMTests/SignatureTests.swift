// The field itself, the text that is signed, and the record in DNS. That others find signatures right is Tests/Outside/test_dkim.py's matter.
import DKIM
import Testing

@Suite struct SignatureTests {
    private func signature(_ header: String, domain: String = "example.org", selector: String = "s1") throws -> Signature {
        try Signature(
            Header(Array(header.utf8)), algorithm: "rsa-sha256", domain: Array(domain.utf8), selector: selector, time: 1_795_000_000, bodyHash: [UInt8](repeating: 7, count: 32))
    }

    private func lines(_ text: [UInt8]) -> [String] { String(decoding: text, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false).map(String.init) }

    private func tags(_ text: [UInt8]) -> [String: String] {
        let plain = lines(text).joined().filter { $0 != " " }.dropFirst("DKIM-Signature:".count)
        return Dictionary(uniqueKeysWithValues: plain.split(separator: ";").map { tag in
            let sign = tag.firstIndex(of: "=")!
            return (String(tag[..<sign]), String(tag[tag.index(after: sign)...]))
        })
    }

    @Test func hasItsTags() throws {
        let tags = tags(try signature("From: a@b.c\n").field([1, 2, 3]))
        #expect(tags["v"] == "1" && tags["a"] == "rsa-sha256" && tags["c"] == "relaxed/relaxed" && tags["d"] == "example.org" && tags["s"] == "s1")
        #expect(tags["t"] == "1795000000" && tags["bh"] == "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=" && tags["b"] == "AQID")
        #expect(Set(tags.keys) == ["v", "a", "c", "d", "s", "t", "bh", "h", "b"])
    }

    @Test func namesFieldsOnceMoreThanThereAre() throws {
        let tags = tags(try signature("Received: x\nFrom: a@b.c\nTo: 1\nTo: 2\nSender: s\nReceived: y\n").field([0]))
        let names = tags["h"]!.lowercased().split(separator: ":")
        func count(_ name: Substring) -> Int { names.filter { $0 == name }.count }
        #expect(count("from") == 2 && count("to") == 3 && count("subject") == 1 && count("content-type") == 1)
        #expect(count("sender") == 1 && count("list-id") == 0 && count("received") == 0)
    }

    @Test func signsFieldsFromTheBottom() throws {
        let text = String(decoding: try signature("Received: x\nTo: 1\nFrom: A <a@b.c>\nto:  2\n").signedText, as: UTF8.self)
        #expect(text.hasPrefix("from:A <a@b.c>\r\nto:2\r\nto:1\r\ndkim-signature:v=1; a=rsa-sha256; c=relaxed/relaxed; d=example.org; s=s1; t=1795000000;"))
        #expect(text.hasSuffix("; b="))
    }

    /// RFC 5322 2.1.1, whatever the signature's length; only a long domain may stand out.
    @Test func hasShortLines() throws {
        for length in [1, 32, 64, 256, 512] {
            for selector in ["s", String(repeating: "s", count: 40)] {
                let lines = lines(try signature("From: a@b.c\nTo: b\n", selector: selector).field([UInt8](repeating: 0xab, count: length)))
                #expect(lines.last == "")
                #expect(lines.dropLast().allSatisfy { $0.utf8.count <= 77 && !$0.hasSuffix(" ") && $0 != "" })
                #expect(lines.dropFirst().dropLast().allSatisfy { $0.hasPrefix(" ") })
            }
        }
        let domain = String(repeating: "abcdefgh.", count: 20) + "org"
        #expect(lines(try signature("From: a@b.c\n", domain: domain).field([1])).filter { $0.utf8.count > 77 }.count == 1)
    }

    @Test func hasAnEnd() { #expect(throws: NotSigned.self) { try signature("From: a@b.c\n" + String(repeating: "To: x\n", count: 1000)) } }

    @Test func isToldInDNS() {
        let record = KeyRecord(domain: "example.org", selector: "s-rsa", algorithm: "rsa-sha256", publicKey: [UInt8](repeating: 0, count: 294))
        #expect(record.name == "s-rsa._domainkey.example.org")
        #expect(record.text.hasPrefix("v=DKIM1; k=rsa; p=AAAA"))
        #expect(record.strings.map(\.utf8.count) == [255, record.text.utf8.count - 255] && record.strings.joined() == record.text)
        #expect(record.zoneText.hasPrefix("s-rsa._domainkey.example.org. IN TXT (\n    \"v=DKIM1;") && record.zoneText.hasSuffix("\" )\n"))
        let short = KeyRecord(domain: "b.c", selector: "e", algorithm: "ed25519-sha256", publicKey: [UInt8](repeating: 0, count: 32))
        #expect(short.zoneText == "e._domainkey.b.c. IN TXT \"v=DKIM1; k=ed25519; p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\"\n")
    }

    @Test func filesNameSelectors() {
        for (file, selector) in [("s1.pem", "s1"), ("a.b-c_d.pem", "a.b-c_d"), ("S2026.rsa.pem", "S2026.rsa")] { #expect(KeyFile.selector(file: file) == selector) }
        for file in ["s1", ".pem", "a..b.pem", "-a.pem", "a;b.pem", "s1.pem.bak", "é.pem", "a b.pem"] { #expect(KeyFile.selector(file: file) == nil) }
    }
}
