// The lines of control/routes: which one counts for a domain, and which are none.
import Control
import Testing

@Suite struct RoutesTests {
    /// `HOST:PORT LEVEL FLAGS`
    private func route(_ domain: String, _ lines: String...) throws -> String {
        let route = try Routes(lines).route(domain)
        return "\(route.destination):\(route.port) \(route.level.rawValue) \(route.flags)"
    }

    @Test func withoutALineTheDNSIsAsked() throws {
        #expect(try route("example.org") == "example.org:25 opportunistic ")
        #expect(try route("example.org", "example.net smart.example") == "example.org:25 opportunistic ")
        #expect(try route("example.org", "") == "example.org:25 opportunistic ")
    }

    @Test(arguments: [
        ("smart.example", "smart.example:25 opportunistic m"), ("smart.example:587", "smart.example:587 opportunistic m"), ("[192.0.2.1]", "[192.0.2.1]:25 opportunistic m"),
        ("[192.0.2.1]:2525", "[192.0.2.1]:2525 opportunistic m"),
        ("[IPv6:2001:db8::1]", "[IPv6:2001:db8::1]:25 opportunistic m"), ("[IPv6:2001:db8::1]:26", "[IPv6:2001:db8::1]:26 opportunistic m"),
        ("smart.example verify", "smart.example:25 verify m"), ("smart.example implicit", "smart.example:465 implicit m"),
        ("smart.example:26 implicit", "smart.example:26 implicit m"), ("smart.example encrypt auth", "smart.example:25 encrypt ma"),
        ("smart.example auth verify", "smart.example:25 verify ma"), ("smart.example none", "smart.example:25 none m"), ("mx", "x.test:25 opportunistic o"),
        ("mx verify", "x.test:25 verify o"), ("mx encrypt auth", "x.test:25 encrypt ao"),
    ]) func destinations(text: String, expected: String) throws {
        #expect(try route("x.test", "x.test " + text) == expected)
        #expect(try route("X.Test", "x.test " + text.replacing("x.test", with: "X.Test")).lowercased() == expected.lowercased())
    }

    @Test func theClosestLineCounts() throws {
        let lines = ["* all.example", ".example.org below.example", "example.org exact.example", ".sub.example.org further.example", ".org top.example"]
        for (domain, host) in [("example.org", "exact"), ("EXAMPLE.org", "exact"), ("a.example.org", "below"), ("b.a.example.org", "below"), ("sub.example.org", "below"),
            ("a.sub.example.org", "further"), ("other.org", "top"), ("xexample.org", "top"), ("org", "all"), ("example.net", "all"), ("example.org.net", "all")] {
            #expect(try Routes(lines).route(domain).destination == host + ".example", "\(domain)")
        }
    }

    /// The first of two lines for the same domain, as everywhere.
    @Test func theFirstOfTwoCounts() throws {
        #expect(try route("a.test", "a.test one.example", "a.test two.example") == "one.example:25 opportunistic m")
    }

    @Test func onlyAnExactLineMovesADomainOfOurs() throws {
        let routes = try Routes(["* all.example", ".test below.example", "b.test exact.example"])
        #expect(routes.exact("a.test") == nil)
        #expect(routes.exact("B.TEST")?.destination == "exact.example")
    }

    @Test(arguments: [
        "a.test", "a.test host.example sometimes", "a.test host.example verify x", "a.test host.example:", "a.test host.example:x", "a.test host.example:0", "a.test host.example:65536",
        "a.test host.example:-1", "a.test :25", "a.test [192.0.2.1", "a.test [192.0.2.1]:", "a.test auth=yes host",
    ]) func linesThatAreNone(line: String) {
        do { _ = try Routes([line]); Issue.record("taken: \(line)") } catch { #expect(error.text.contains("control/routes")) }
    }

    @Test func emptyLinesAndTabs() throws {
        #expect(try route("a.test", "", "   ", "a.test\tsmart.example\t verify") == "smart.example:25 verify m")
    }
}
