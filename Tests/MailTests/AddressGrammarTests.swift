// Mailbox = Local-part "@" ( Domain / address-literal ), RFC 5321 4.1.2: every octet in every place it may or may not stand.
import Testing
@testable import Mail

@Suite struct AddressGrammarTests {
    @Test(arguments: [
        ("a@b", "a", "b"),
        ("first.last@example.org", "first.last", "example.org"),
        ("!#$%&'*+-/=?^_`{|}~@example.org", "!#$%&'*+-/=?^_`{|}~", "example.org"),
        ("0@0", "0", "0"),
        ("a@xn--bcher-kva.example", "a", "xn--bcher-kva.example"),
        ("a@a--b.c-d", "a", "a--b.c-d"),
        ("a@192.0.2.1", "a", "192.0.2.1"),
        ("MiXed@ExAmple.ORG", "MiXed", "ExAmple.ORG"),
        ("a@[192.0.2.1]", "a", "[192.0.2.1]"),
        // What other systems once took for routes is a name like any other.
        ("user%other.example@example.org", "user%other.example", "example.org"),
        ("host!user@example.org", "host!user", "example.org"),
    ])
    func takesDotStrings(text: String, local: String, domain: String) throws {
        let address = try #require(Address(text))
        #expect(address.localPart.text == local)
        #expect(address.domain.text == domain)
    }

    @Test(arguments: [
        (#""simple"@b"#, "simple"),
        (#"" "@b"#, " "),
        (#""two words"@b"#, "two words"),
        (#""..a..b.."@b"#, "..a..b.."),
        (#""a@b"@b"#, "a@b"),
        (#""<>(),:;[]"@b"#, "<>(),:;[]"),
        (#""\"@b"@b"#, #""@b"#),
        (#""\\"@b"#, #"\"#),
        (#""\a\ \@"@b"#, "a @"),
        // RFC 5321 4.1.2: Quoted-string = DQUOTE *QcontentSMTP DQUOTE, so nothing at all may stand between the quotes.
        (#"""@b"#, ""),
    ])
    func takesQuotedStrings(text: String, local: String) throws {
        let address = try #require(Address(text))
        #expect(address.localPart.text == local)
        #expect(address.domain.text == "b")
    }

    @Test(arguments: [
        "", "@", "a", "a@", "@b", "@@", "a@b@c", " a@b", "a@b ", "a @b", "a@ b", "a b@c", "a@b c",
        ".a@b", "a.@b", "a..b@c", ".@b", "..@b",
        "a@.", "a@.b", "a@b.", "a@b..c", "a@-", "a@-b", "a@b-", "a@b.-c", "a@b-.c",
        "a@b,c", "a@b/c", "a@b:c", "a@b%c", "a@b!c", "a@[", "a@]", "a@[]", "a@b[192.0.2.1]", "a@[192.0.2.1]b", "a@[192.0.2.1",
        "<a@b>", "a(comment)@b", "(c)a@b", "a@b(comment)", "a,b@c", "a:b@c", "a;b@c", "a<b@c", "a>b@c", "a[b@c", "a\\b@c",
        "\"a@b", "a\"@b", "\"a\"b@c", "a\"b\"@c", "\"a\".b@c", "a.\"b\"@c", "\"a\"\"b\"@c", "\"a\\\"@b", "\"", "\"\\", "\"a\"", "\"a\"@",
    ])
    func refusesWhatIsNoMailbox(text: String) {
        #expect(parse(text) == .failure(.syntax))
        #expect(Address(text) == nil)
    }

    /// RFC 5322 3.2.3 atext.
    @Test func everyOctetAsAnAtom() {
        let atext = Set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-/=?^_`{|}~".utf8)
        for octet in UInt8(0)...127 {
            for text in [[octet], [0x61, octet], [octet, 0x61], [0x61, octet, 0x61]] where octet != 0x2e || text.count < 3 {
                #expect((Address(text + "@b".octets) != nil) == atext.contains(octet), "octet \(octet) in \(text)")
            }
        }
    }

    /// RFC 5321 4.1.2 qtextSMTP and quoted-pairSMTP.
    @Test func everyOctetWithinQuotes() {
        for octet in UInt8(0)...127 {
            let isText = 0x20...0x7e ~= octet && octet != 0x22 && octet != 0x5c
            // A backslash alone would take the closing quote with it.
            #expect((Address([0x22, 0x61, octet, 0x22] + "@b".octets) != nil) == isText, "octet \(octet)")
            let isQuotable = 0x20...0x7e ~= octet
            let pair = Address([0x22, 0x5c, octet, 0x22] + "@b".octets)
            #expect((pair != nil) == isQuotable, "quoted octet \(octet)")
            if isQuotable { #expect(pair?.localPart == [octet]) }
        }
    }

    /// RFC 5321 4.1.2 sub-domain; the underscore is tolerated, because senders' hosts have it.
    @Test func everyOctetInADomain() {
        let inside = Set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.".utf8)
        for octet in UInt8(0)...127 {
            #expect((Address("a@b".octets + [octet] + "c".octets) != nil) == inside.contains(octet), "octet \(octet) inside")
            let atEdge = inside.contains(octet) && octet != 0x2d && octet != 0x2e
            #expect((Address("a@".octets + [octet]) != nil) == atEdge, "octet \(octet) alone")
        }
    }

    /// No control character gets through anywhere: what is accepted may stand in a header, a file and a log.
    @Test func noControlCharacterAnywhere() {
        for control in Array(UInt8(0)...31) + [127] {
            for text in ["abc@example.org", "\"a b\"@example.org", "\"a\\ b\"@[192.0.2.1]", "a@[IPv6:::1]"] {
                for place in 0...text.utf8.count {
                    var octets = text.octets
                    octets.insert(control, at: place)
                    #expect(Address(octets) == nil, "octet \(control) at \(place) of \(text)")
                }
            }
        }
    }
}
