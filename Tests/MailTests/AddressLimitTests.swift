// RFC 5321 4.5.3.1.1 to 4.5.3.1.3: local part 64, domain 255, path 256 octets "including the punctuation and element separators";
// RFC 1035 2.3.4: labels 63. One octet less is taken, one more is not.
import Testing
@testable import Mail

@Suite struct AddressLimitTests {
    private func name(_ count: Int) -> String { String(repeating: "a", count: count) }

    /// A domain of exactly so many octets, in labels of at most 63.
    private func domain(_ count: Int) -> String {
        var rest = count
        var labels: [String] = []
        while rest > 63 {
            let label = rest == 64 ? 62 : 63
            labels.append(name(label))
            rest -= label + 1
        }
        return (labels + [name(rest)]).joined(separator: ".")
    }

    @Test func theDomainsAreAsLongAsTheySay() {
        for count in 1...300 { #expect(domain(count).utf8.count == count) }
    }

    @Test func localPart() {
        #expect((try? parse(name(64) + "@b").get()) != nil)
        #expect(parse(name(65) + "@b") == .failure(.tooLong))
    }

    @Test func quotedLocalPartCountsItsQuotes() {
        #expect((try? parse("\"\(name(61)) \"@b").get()) != nil)
        #expect(parse("\"\(name(62)) \"@b") == .failure(.tooLong))
    }

    @Test func quotedPairsCountTwice() {
        #expect((try? parse("\"" + String(repeating: "\\\"", count: 31) + "\"@b").get()) != nil)
        #expect(parse("\"" + String(repeating: "\\\"", count: 32) + "\"@b") == .failure(.tooLong))
    }

    @Test func localPartOfUTF8CountsOctets() {
        #expect((try? parse(String(repeating: "ü", count: 32) + "@b").get()) != nil)
        #expect(parse(String(repeating: "ü", count: 32) + "a@b") == .failure(.tooLong))
    }

    @Test func wholeDomain() {
        #expect((try? parse("a@" + domain(255)).get()) != nil)
        #expect(parse("a@" + domain(256)) == .failure(.tooLong))
    }

    @Test func label() {
        #expect((try? parse("a@b." + name(63)).get()) != nil)
        #expect(parse("a@b." + name(64)) == .failure(.tooLong))
        #expect(parse("a@" + name(64) + ".b") == .failure(.tooLong))
    }

    @Test func literal() {
        let room = 255 - "[x:]".count
        #expect((try? parse("a@[x:\(name(room))]").get()) != nil)
        #expect(parse("a@[x:\(name(room + 1))]") == .failure(.tooLong))
    }

    /// The brackets belong to the path.
    @Test(arguments: ["", "@r.example:"])
    func bracketedPath(route: String) {
        for (count, isTaken) in [(255, true), (256, true), (257, false), (258, false)] {
            let text = "<\(route)" + name(64) + "@" + domain(count - 67 - route.utf8.count) + ">"
            #expect(text.utf8.count == count)
            var back = AddressParser(text.octets), on = AddressParser(text.octets)
            #expect(((try? back.reversePath().get()) != nil) == isTaken, "reverse-path of \(count)")
            #expect(((try? on.forwardPath().get()) != nil) == isTaken, "forward-path of \(count)")
        }
    }

    /// A path whose brackets a client left out is no longer for that: with them it must fit into 256.
    @Test func unbracketedPath() {
        for (count, isTaken) in [(253, true), (254, true), (255, false), (256, false), (258, false)] {
            let text = name(64) + "@" + domain(count - 65)
            #expect(text.utf8.count == count)
            var back = AddressParser(text.octets), on = AddressParser(text.octets)
            #expect(((try? back.reversePath().get()) != nil) == isTaken, "reverse-path of \(count)")
            #expect(((try? on.forwardPath().get()) != nil) == isTaken, "forward-path of \(count)")
        }
    }

    @Test func tooLongIsToldApartFromMalformed() {
        var long = AddressParser("<\(name(65))@b>".octets), wrong = AddressParser("<\(name(65))>".octets)
        #expect(long.forwardPath() == .failure(.tooLong))
        #expect(wrong.forwardPath() == .failure(.syntax))
    }
}
