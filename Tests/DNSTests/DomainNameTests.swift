// Domains as people write them, and as the DNS is asked for them.
import Testing

@testable import DNS

@Suite struct DomainNameTests {
    private func ascii(_ text: String) -> String? { DomainName.ascii(Array(text.utf8)).map { String(decoding: $0, as: UTF8.self) } }

    @Test(arguments: [
        ("example.org", "example.org"), ("EXAMPLE.Org.", "example.org"), ("a_b.example", "a_b.example"),
        ("bücher.example", "xn--bcher-kva.example"), ("BÜCHER.example", "xn--bcher-kva.example"),
        ("münchen。example", "xn--mnchen-3ya.example"), ("例え.テスト", "xn--r8jz45g.xn--zckzah"),
        ("παράδειγμα.δοκιμή", "xn--hxajbheg2az3al.xn--jxalpdlp"), ("пример.испытание", "xn--e1afmkfd.xn--80akhbyknj4f"),
        ("xn--bcher-kva.example", "xn--bcher-kva.example"), ("ü.example", "xn--tda.example"),
        // RFC 3492 7.1 (I), (L) and (A), with small letters.
        ("почемужеонинеговорятпорусски", "xn--b1abfaaepdrnnbgefbadotcwatmq2g4l"),
        ("3年b組金八先生", "xn--3b-ww4c5e180e575a65lsy2b"), ("ليهمابتكلموشعربي؟", "xn--egbpdaj6bu4bxfgehfvwxn"),
    ]) func asTheDNSIsAsked(_ text: String, _ expected: String) { #expect(ascii(text) == expected) }

    @Test(arguments: [
        "", ".", "..", "a..b", ".a", "a b", "a/b", "[192.0.2.1]", "a\0b", "a@b",
        String(repeating: "x", count: 64), String(repeating: "ü", count: 64), String(repeating: "abcdefg.", count: 32),
    ]) func whatIsNoName(_ text: String) { #expect(ascii(text) == nil) }

    @Test func whatIsNoUTF8() { #expect(DomainName.ascii([0xff, 0x2e, 0x61]) == nil) }
}
