// Address literals, RFC 5321 4.1.3.
import Testing
@testable import Mail

@Suite struct AddressLiteralTests {
    @Test(arguments: [
        "192.0.2.1", "0.0.0.0", "255.255.255.255", "1.2.3.4", "001.002.003.004",
        "IPv6:::", "IPv6:::1", "IPv6:1::", "ipv6:2001:db8::1", "IPV6:2001:DB8::A", "IPv6:1:2:3:4:5:6:7:8", "IPv6:1:2:3::4:5:6", "IPv6:1:2:3:4:5:6::",
        "IPv6:::2:3:4:5:6:7", "IPv6:0123:4567:89ab:cdef:CDEF:0:0:0",
        "IPv6:::192.0.2.1", "IPv6:::ffff:192.0.2.1", "IPv6:1:2:3:4:5:6:192.0.2.1", "IPv6:1:2::3:4:192.0.2.1",
        "X400:anything", "tag-2:!\"#$%&'()*+,-./09:;<=>?@AZ^_`az{|}~",
    ])
    func takes(text: String) {
        #expect(AddressLiteral.isValid(text.octets))
        #expect(Address("a@[\(text)]")?.domain.text == "[\(text)]")
        #expect(Address("a@[\(text)]")?.hasLiteralDomain == true)
    }

    @Test(arguments: [
        "", "1", "1.2", "1.2.3", "1.2.3.4.5", "256.0.0.1", "1.2.3.256", "1.2.3.999", "0001.2.3.4", "1.2.3.", ".1.2.3", "1..2.3", "1.2.3.a", "+1.2.3.4",
        "1.2.3.4 ", "0x7f.0.0.1", "example.org",
        "2001:db8::1", "::1",  // the tag is missing
        "IPv6:", "IPv6:1", "IPv6::", "IPv6::1", "IPv6:1:", "IPv6::::", "IPv6:1:::2", "IPv6:1::2::3", "IPv6:1:2:3:4:5:6:7", "IPv6:1:2:3:4:5:6:7:8:9",
        "IPv6:1:2:3:4:5:6:7:8::", "IPv6:::1:2:3:4:5:6:7:8", "IPv6::1:2:3:4:5:6:7:8", "IPv6:1:2:3:4:5:6:7:8:", "IPv6:12345::", "IPv6:g::", "IPv6:-1::", "IPv6:fe80::1%eth0",
        "IPv6:192.0.2.1", "IPv6:1:2:3:4:5:6:7:192.0.2.1", "IPv6:::192.0.2", "IPv6:::192.0.2.1:1", "IPv6:::192.0.2.256", "IPv6:192.0.2.1::",
        ":x", "tag:", "-:x", "t ag:x", "tag:x y", "tag:[", "tag:]", "tag:\\", "tag:\u{7f}", "t.ag:x",
    ])
    func refuses(text: String) {
        #expect(!AddressLiteral.isValid(text.octets) || text.contains { " []\\\u{7f}".contains($0) })
        #expect(parse("a@[\(text)]") == .failure(.syntax))
    }

    @Test func aNameIsNoLiteral() {
        #expect(Address("a@b")?.hasLiteralDomain == false)
    }
}
