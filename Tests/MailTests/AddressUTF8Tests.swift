// RFC 6531 3.3: UTF-8 in local parts, plain and quoted, and in domains; nothing that is not UTF-8.
import Testing
@testable import Mail

@Suite struct AddressUTF8Tests {
    @Test(arguments: ["ü@example.org", "用户@例子.广告", "δοκιμή@παράδειγμα.δοκιμή", "\"ü ü\"@example.org", "a@bücher.example", "😀@example.org", "ü.ä@x", "a@ü"])
    func takesUTF8(text: String) throws {
        let address = try #require(Address(text))
        #expect(!address.isASCII)
        #expect(address.bytes.text == text)
    }

    @Test func asciiIsTold() {
        #expect(Address("a@b")?.isASCII == true)
        #expect(Address("ü@b")?.isASCII == false)
        #expect(Address("a@ü")?.isASCII == false)
    }

    /// Unicode, table 3-7: what is no well-formed UTF-8.
    @Test(arguments: [
        [0x80], [0xbf], [0xc0, 0x80], [0xc1, 0xbf], [0xc3], [0xc3, 0x61], [0xe0, 0x80, 0x80], [0xe2, 0x82], [0xed, 0xa0, 0x80], [0xed, 0xbf, 0xbf],
        [0xf0, 0x80, 0x80, 0x80], [0xf0, 0x9f, 0x98], [0xf4, 0x90, 0x80, 0x80], [0xf5, 0x80, 0x80, 0x80], [0xfe], [0xff], [0xe4],
    ] as [[UInt8]])
    func refusesOtherOctets(octets: [UInt8]) {
        #expect(parse("a".octets + octets + "@b".octets) == .failure(.encoding))
        #expect(parse([0x22] + octets + [0x22] + "@b".octets) == .failure(.encoding))
        #expect(parse("a@b".octets + octets) == .failure(.encoding))
    }

    @Test func everySingleHighOctetIsRefused() {
        for octet in UInt8(0x80)...0xff {
            #expect(parse([octet] + "@b".octets) == .failure(.encoding))
            #expect(parse("a@".octets + [octet]) == .failure(.encoding))
        }
    }

    /// A quoted pair is a backslash and one ASCII character (RFC 5321 4.1.2); RFC 6531 does not widen it.
    @Test func noQuotedPairOfUTF8() {
        #expect(parse("\"\\ü\"@b") == .failure(.syntax))
    }

    /// Characters put together from the local part's end and the domain's beginning do not count.
    @Test func theWholeIsJudgedNotItsHalves() {
        #expect(parse([0xc3, 0x40, 0xbc]) == .failure(.encoding))
    }
}
