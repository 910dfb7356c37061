// How an address is written out, and the one spelling under which its mailbox is kept.
import Testing
@testable import Mail

@Suite struct AddressSpellingTests {
    @Test(arguments: [
        ("a@b", "a@b"), ("\"a\"@b", "a@b"), ("\"a.b\"@b", "a.b@b"), ("\"a b\"@b", "\"a b\"@b"), ("\"\\a\"@b", "a@b"), ("\"\\\"\"@b", "\"\\\"\"@b"), ("\"\\\\\"@b", "\"\\\\\"@b"),
        ("\".a\"@b", "\".a\"@b"), ("\"a.\"@b", "\"a.\"@b"), ("\"a..b\"@b", "\"a..b\"@b"), ("\"a@c\"@b", "\"a@c\"@b"), ("\"ü\"@b", "ü@b"), ("A@B", "A@B"),
    ])
    func quotesWhatMustBeQuoted(written: String, bytes: String) {
        #expect(Address(written)?.bytes.text == bytes)
    }

    @Test(arguments: [("A.b@EXAMPLE.Org", "a.b@example.org"), ("\"A B\"@X", "a b@x"), ("\"x\"@y", "x@y"), ("Ü@B", "Ü@b"), ("a@[IPv6:2001:DB8::1]", "a@[ipv6:2001:db8::1]")])
    func keyIsSmallAndUnquoted(written: String, key: String) {
        #expect(Address(written)?.key.text == key)
    }

    @Test func aBarePostmasterHasNoAtSign() {
        let address = Address(localPart: "Postmaster".octets, domain: [])
        #expect(address.bytes.text == "Postmaster")
        #expect(address.key.text == "postmaster")
        #expect(address.with(domain: "x".octets).bytes.text == "Postmaster@x")
    }

    @Test func namesAreComparedInAnyCase() {
        #expect(Address("PostMaster@x")?.isNamed("postmaster") == true)
        #expect(Address("postmasters@x")?.isNamed("postmaster") == false)
        #expect(Address("postmaste@x")?.isNamed("postmaster") == false)
    }

    /// Two different mailboxes never share a key, and so never a file: what stands before the last @ is the local part.
    @Test func quotingCannotImitateAnotherMailbox() {
        let plain = Address("x@y")!, tricky = [Address("\"x@y\"@z")!, Address("\"x@y@\"@z")!, Address("\" x\"@y")!, Address("\"x \"@y")!]
        #expect(tricky.allSatisfy { $0.key != plain.key })
    }

    /// Written out and read again, an address is the same: in a queue file, in a header, in a bounce.
    @Test func writtenOutItIsReadBack() {
        var numbers = RepeatableNumbers(state: 1)
        let letters = (UInt8(0x20)...0x7e).map { [$0] } + ["ü", "用", "😀", "\u{85}", "\u{2028}"].map(\.octets)
        for _ in 0..<20_000 {
            let local = (0..<Int.random(in: 1...8, using: &numbers)).flatMap { _ in letters.randomElement(using: &numbers)! }
            let domain = ["b", "example.org", "[192.0.2.1]", "ü.example", "A-b.C"].randomElement(using: &numbers)!
            let address = Address(localPart: local, domain: domain.octets)
            let again = Address(address.bytes)
            #expect(again == address, "\(address.bytes.text)")
            #expect(again?.key == address.key)
        }
    }
}
