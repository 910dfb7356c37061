// Reverse-path and Forward-path as MAIL and RCPT give them, RFC 5321 4.1.2, and the tolerance that other servers have taught clients.
import Testing
@testable import Mail

@Suite struct AddressPathTests {
    private func reverse(_ text: String) -> (Result<Address?, AddressFault>, rest: String) {
        var parser = AddressParser(text.octets)
        return (parser.reversePath(), parser.rest.text)
    }

    private func forward(_ text: String) -> (Result<Address, AddressFault>, rest: String) {
        var parser = AddressParser(text.octets)
        return (parser.forwardPath(), parser.rest.text)
    }

    @Test(arguments: [
        ("<a@b>", "a@b", ""),
        ("<a@b> SIZE=1", "a@b", " SIZE=1"),
        ("<a@b>SIZE=1", "a@b", "SIZE=1"),
        ("a@b", "a@b", ""),
        ("a@b SIZE=1", "a@b", " SIZE=1"),
        ("a@b> ", "a@b", "> "),
        ("<\"a b\"@c>", "\"a b\"@c", ""),
        ("<\"a>b\"@c>", "\"a>b\"@c", ""),
        ("\"a b\"@c d", "\"a b\"@c", " d"),
        ("<a@[192.0.2.1]>", "a@[192.0.2.1]", ""),
        // Source routes are accepted and ignored (RFC 5321 4.1.1.3, appendix C).
        ("<@one.example:a@b>", "a@b", ""),
        ("<@one.example,@two.example,@three.example:a@b>", "a@b", ""),
        ("<@one.example:\"a:b\"@c>x", "\"a:b\"@c", "x"),
    ])
    func takesPaths(text: String, address: String, rest: String) {
        let (back, backRest) = reverse(text), (on, onRest) = forward(text)
        #expect(back == .success(Address(address)!))
        #expect(on == .success(Address(address)!))
        #expect(backRest == rest)
        #expect(onRest == rest)
    }

    @Test(arguments: [
        "", "<", ">", "<.>", "<<a@b>>", "<a@b", "<a@b ", "< a@b>", "<a@b >",
        "<@>", "<@:a@b>", "<@one:>", "<@one>", "<@one,:a@b>", "<@one,two:a@b>", "<@one, @two:a@b>", "<@one:@two:a@b>", "<@one;a@b>", "<@one a@b>",
        "<one:a@b>", "<@[192.0.2.1]:a@b>", "<@-one:a@b>", "@one:a@b", "<a@b,c@d>",
    ])
    func refusesWhatIsNoPath(text: String) {
        #expect(reverse(text).0 == .failure(.syntax))
        #expect(forward(text).0 == .failure(.syntax))
    }

    @Test func theNullSenderIsForReversePathsAlone() {
        #expect(reverse("<>").0 == .success(nil))
        #expect(reverse("<> BODY=7BIT").rest == " BODY=7BIT")
        #expect(forward("<>").0 == .failure(.syntax))
        #expect(reverse("< >").0 == .failure(.syntax))
    }

    /// RFC 5321 4.5.1: `RCPT TO:<postmaster>`, in any case, without a domain.
    @Test(arguments: ["<postmaster>", "<POSTMASTER>", "<Postmaster> X=1", "postmaster", "PostMaster X=1"])
    func postmasterNeedsNoDomain(text: String) throws {
        let (result, rest) = forward(text)
        let address = try result.get()
        #expect(address.isNamed("postmaster"))
        #expect(address.domain.isEmpty)
        #expect(address.key.text == "postmaster")
        #expect(rest == (text.hasSuffix("X=1") ? " X=1" : ""))
    }

    @Test(arguments: ["<postmaster", "postmaster>", "<postmaster >", "<postmasters>", "<post>", "<abuse>", "<postmaster.>", "<\"postmaster\">", "<postmaster@>", "<@a:postmaster>"])
    func onlyPostmasterNeedsNoDomain(text: String) {
        #expect(forward(text).0 == .failure(.syntax))
    }

    @Test func postmasterWithADomainIsAnAddressLikeAnother() {
        #expect(forward("<postmaster@example.org>").0 == .success(Address("postmaster@example.org")!))
        #expect(forward("postmaster@example.org X").rest == " X")
    }

    @Test func aSenderNeedsItsDomain() {
        #expect(reverse("<postmaster>").0 == .failure(.syntax))
        #expect(reverse("postmaster").0 == .failure(.syntax))
    }
}
