// The addresses of a header field, after RFC 5322 3.4: each form that means one, and each that means none or could mean two.
import Testing
@testable import Mail

@Suite struct AddressListTests {
    private func addresses(_ body: String) -> [String]? { AddressList.parse(body.octets)?.map { $0.bytes.text } }

    @Test(arguments: [
        // addr-spec alone
        ("a@b", ["a@b"]), (" a@b ", ["a@b"]), ("\ta@b\n", ["a@b"]), ("first.last@example.org", ["first.last@example.org"]), ("A@B", ["A@B"]), ("!#$%&'*+-/=?^_`{|}~@b", ["!#$%&'*+-/=?^_`{|}~@b"]),
        ("a@[192.0.2.1]", ["a@[192.0.2.1]"]), ("a@[IPv6:2001:db8::1]", ["a@[IPv6:2001:db8::1]"]), ("ü@b", ["ü@b"]), ("a@bücher.example", ["a@bücher.example"]),
        ("a@under_score.example", ["a@under_score.example"]),
        // quoted local parts
        ("\"a\"@b", ["a@b"]), ("\"a b\"@c", ["\"a b\"@c"]), ("\"a@b\"@c", ["\"a@b\"@c"]), ("\"a\\\"b\"@c", ["\"a\\\"b\"@c"]), ("\"a..b\"@c", ["\"a..b\"@c"]), ("\"a\".b@c", ["a.b@c"]),
        ("a.\"b\"@c", ["a.b@c"]), ("\"<a@b>\"@c", ["\"<a@b>\"@c"]),
        // angle-addr and display names
        ("<a@b>", ["a@b"]), ("< a@b >", ["a@b"]), ("Anna <a@b>", ["a@b"]), ("Anna<a@b>", ["a@b"]), ("Anna Q. Sow <a@b>", ["a@b"]), ("\"Sow, Anna\" <a@b>", ["a@b"]),
        ("\"Anna\" Sow <a@b>", ["a@b"]), ("\"x@y\" <a@b>", ["a@b"]),
        ("\"<x@y>, <z@w>\" <a@b>", ["a@b"]), ("\"q\\\"<x@y>\" <a@b>", ["a@b"]), ("=?utf-8?q?J=C3=B6rg?= <a@b>", ["a@b"]), ("Jörg <a@b>", ["a@b"]), ("\"\" <a@b>", ["a@b"]),
        (". <a@b>", ["a@b"]), ("Anna\n\tSow\n <a@b>", ["a@b"]),
        // comments and folding
        ("a@b (Anna)", ["a@b"]), ("(Anna) a@b", ["a@b"]), ("(x@y) a@b", ["a@b"]), ("a(x)@(y)b(z)", ["a@b"]), ("a (x) . (y) b @ c . d", ["a.b@c.d"]),
        ("((nested) (twice (deep))) a@b", ["a@b"]), ("(\\) x) a@b", ["a@b"]), ("(\\() a@b", ["a@b"]),
        ("Anna (x) <(y)a@b(z)> (w)", ["a@b"]), ("\n a@b\n", ["a@b"]), ("a\n @\n b", ["a@b"]), ("(a\n b) c@d", ["c@d"]), ("(\"\") a@b", ["a@b"]), ("(<x@y>,) a@b", ["a@b"]), ("(ü) a@b", ["a@b"]),
        // lists, with the empty elements of old
        ("a@b, c@d", ["a@b", "c@d"]), ("a@b,c@d,e@f", ["a@b", "c@d", "e@f"]), (",a@b", ["a@b"]), ("a@b,", ["a@b"]), (",, a@b ,, c@d ,,", ["a@b", "c@d"]),
        ("Anna <a@b>, \"C, D\" <c@d>", ["a@b", "c@d"]), ("a@b\n\t,\n c@d", ["a@b", "c@d"]), ("a@b, (x, y@z) c@d", ["a@b", "c@d"]), ("a@b, a@b", ["a@b", "a@b"]),
        // groups
        ("Group: a@b;", ["a@b"]), ("Group:a@b,c@d;", ["a@b", "c@d"]), ("Group: Anna <a@b>, c@d;", ["a@b", "c@d"]), ("Group:;", []), ("Group: ;", []), ("Group: (nobody) ;", []),
        ("\"A, B\": a@b;", ["a@b"]), ("A B.C: a@b;", ["a@b"]), ("a@b, Group: c@d;, e@f", ["a@b", "c@d", "e@f"]),
        ("A: a@b; B: c@d;", ["a@b", "c@d"]), ("A: a@b;, B:;", ["a@b"]), ("Undisclosed recipients:;", []),
        // nothing
        ("", []), (" ", []), ("\n", []), (",", []), ("(a@b)", []), ("(a) (b)", []), (",(x),", []),
    ]) func isRead(body: String, expected: [String]) {
        #expect(addresses(body) == expected)
    }

    @Test(arguments: [
        // no address
        "a", "a b", "@", "a@", "@b", "<>", "<a>", "Anna <>", "Anna", "a@b.", "a@.b", "a@b..c", ".a@b", "a.@b", "a..b@c", "a@-b", "a@b-", "a@[1.2.3]", "a@[]", "a@[x]", "\"\"", "\"a\"",
        "a@\"b\"", "a@(b)",
        // two readings
        "a@b c@d", "a@b c", "a b@c", "a@b@c", "a@b <c@d>", "a@b<c@d>", "<a@b> <c@d>", "<a@b>c@d", "<a@b> x", "<a@b>\"x\"", "<<a@b>>", "<a@b>>", "<a@b, c@d>", "Anna, Sow <a@b>",
        "Anna@work <a@b>", "a@b; c@d", "[x] <a@b>", "Anna <a@b> Sow",
        // routes of old
        "<@x:a@b>", "<@x,@y:a@b>", "@x:a@b",
        // groups that are none
        "Group: a@b", "Group:", ": a@b;", "a@b;", ";", "A: B: a@b;;", "A: a@b, B: c@d;;", "<a>: b@c;", "a@b: c@d;", "A: a@b;;", "A: a@b; c@d;",
        // what does not end, or has no place
        "\"a", "\"a@b", "\"Anna <a@b>", "Anna\" <a@b>", "(a@b", "a@b (", "a@b)", "a@b (()", "<a@b", "a@b>", "\"a\\", "(\\", "(\\)", "a@[192.0.2.1", "a@192.0.2.1]", "a\\b@c", "a@b\\", "a@b/\\", "\\",
        "a@b\0", "\0a@b", "a\0@b", "\"\0\" <a@b>", "(\0) a@b", "a@b\u{1}", "a@b\u{7f}", "\u{b}a@b", "\u{c}a@b", "\u{1b}a@b", "a\u{8}@b",
    ]) func isMalformed(body: String) {
        #expect(addresses(body) == nil)
    }

    /// In quotes and comments control characters are text, but not in what is an address afterwards.
    @Test func controlCharactersInNames() {
        for control in (UInt8(1)...31) + [127] where control != 10 && control != 13 {
            #expect(AddressList.parse("\"".octets + [control] + "\" <a@b>".octets)?.count == 1, "\(control)")
            #expect(AddressList.parse("(".octets + [control] + ") a@b".octets)?.count == 1, "\(control)")
            #expect(AddressList.parse("\"".octets + [control] + "\"@b".octets) == nil, "\(control)")
        }
    }

    /// RFC 5321 4.5.3.1: what is no address of an envelope is none here.
    @Test func lengths() {
        let long = String(repeating: "x", count: 64)
        #expect(addresses("\(long)@b") == ["\(long)@b"])
        #expect(addresses("x\(long)@b") == nil)
        #expect(addresses("a@\(long)") == nil)
        #expect(addresses("a@" + Array(repeating: "abcdefg", count: 32).joined(separator: ".") )?.count == 1)
        #expect(addresses("a@" + Array(repeating: "abcdefg", count: 33).joined(separator: ".")) == nil)
    }

    /// Latin letters of one octet are signs of a name, and of no address.
    @Test func octetsThatAreNoUTF8() {
        #expect(AddressList.parse("J".octets + [0xf6] + "rg <a@b>".octets)?.count == 1)
        #expect(AddressList.parse("\"J".octets + [0xf6] + "rg\" <a@b>".octets)?.count == 1)
        #expect(AddressList.parse("(J".octets + [0xf6] + ") a@b".octets)?.count == 1)
        #expect(AddressList.parse("j".octets + [0xf6] + "rg@b".octets) == nil)
        #expect(AddressList.parse("\"j".octets + [0xf6] + "rg\"@b".octets) == nil)
        #expect(AddressList.parse("a@b".octets + [0xf6]) == nil)
    }

    /// However it is folded, and whatever space is around it, a field says the same.
    @Test func spaceMeansNothingBetweenTokens() {
        for body in ["a@b", "Anna <a@b>", "\"A, B\" <a@b>, Group: c@d, <e@f>;, g@[192.0.2.1]"] {
            let expected = addresses(body)
            var isInQuotes = false
            var spaced = ""
            for character in body {
                if character == "\"" || character == "[" || character == "]" { isInQuotes.toggle() }
                spaced += !isInQuotes && "<>@,:;".contains(character) ? "\n \(character)(x)\t" : String(character)
            }
            #expect(addresses(spaced) == expected, "\(spaced)")
        }
    }

    /// Neither depth nor length is a danger.
    @Test func largeFields() {
        #expect(addresses(String(repeating: "(", count: 60_000) + String(repeating: ")", count: 60_000) + "a@b") == ["a@b"])
        #expect(addresses(String(repeating: "(", count: 60_000)) == nil)
        #expect(addresses(String(repeating: "a@b,", count: 20_000))?.count == 20_000)
        #expect(addresses(String(repeating: "\\", count: 60_000)) == nil)
        #expect(addresses("\"" + String(repeating: "\\\"", count: 30_000) + "\" <a@b>") == ["a@b"])
    }

    @Test func whatIsReadIsReadAgain() {
        var numbers = RepeatableNumbers(state: 5)
        let words = ["a", "b.c", "@", "@", "d", ".", ",", ":", ";", "<", ">", "\"q\"", "\"@\"", "(c)", " ", "[192.0.2.1]", "ü"]
        var read = 0
        for _ in 0..<200_000 {
            let body = (0..<Int.random(in: 1...9, using: &numbers)).map { _ in words.randomElement(using: &numbers)! }.joined()
            guard let addresses = AddressList.parse(body.octets), !addresses.isEmpty else { continue }
            read += 1
            let written = Array(addresses.map(\.bytes).joined(separator: ", ".octets))
            guard AddressList.parse(written) == addresses else { Issue.record("\(body) is not read again as \(written.text)"); return }
        }
        #expect(read > 500)
    }
}
