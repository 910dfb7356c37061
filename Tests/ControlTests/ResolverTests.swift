// Whom an address reaches: a mailbox, an alias' targets, postmaster; and nobody else's mail is taken.
import Control
import Mail
import Testing
import Unix

@Suite struct ResolverTests {
    static let hostname = "mail.semail.test"

    /// The addresses reached; nil: there is no such mailbox.
    private func resolve(_ address: Address, _ home: ControlHome, local: String = "") throws -> [String]? {
        let resolver = try Resolver(home.home)
        guard case .mailboxes(let found) = try resolver.resolve(address, hostname: Array(Self.hostname.utf8), localAddress: local) else { return nil }
        return found.map { String(decoding: $0.0.bytes, as: UTF8.self) }
    }

    private func resolve(_ text: String, _ home: ControlHome, local: String = "") throws -> [String]? { try resolve(try #require(Address(text)), home, local: local) }

    private func home(_ files: [String: String] = [:]) throws -> ControlHome {
        let home = try ControlHome(["control/hostname": "mail.semail.test\n"].merging(files) { $1 })
        for address in ["x@semail.test", "y@semail.test", "postmaster@mail.semail.test", "admin@semail.test", "ü@semail.test"] { try home.addMailbox(address) }
        return home
    }

    @Test func mailboxes() throws {
        let home = try home()
        #expect(try resolve("x@semail.test", home) == ["x@semail.test"])
        #expect(try resolve("X@SEMAIL.test", home) == ["X@SEMAIL.test"])
        #expect(try resolve("ü@semail.test", home) == ["ü@semail.test"])
        #expect(try resolve("Ü@semail.test", home) == nil)
        #expect(try resolve("z@semail.test", home) == nil)
    }

    @Test(arguments: [
        "x@other.example", "x%semail.test@other.example", "other.example!x@semail.test", "x%other.example@semail.test", "\"x@other.example\"@semail.test", "\"x@semail.test\"@other.example",
        "@semail.test", "\"\"@semail.test", "\"../x\"@semail.test", "x@[192.0.2.1]", "x@semail.test.other.example", "x+tag@semail.test",
    ])
    func noRelaying(text: String) throws {
        guard let address = Address(text) else { return }
        #expect(try resolve(address, try home()) == nil)
    }

    @Test func aliases() throws {
        let home = try home(["control/aliases": "# team\nteam@semail.test x@semail.test\ty@semail.test\nTEAM2@semail.test  x@semail.test\nx@semail.test y@semail.test\nempty@semail.test\n"])
        #expect(try resolve("team@semail.test", home) == ["x@semail.test", "y@semail.test"])
        #expect(try resolve("Team@Semail.Test", home) == ["x@semail.test", "y@semail.test"])
        #expect(try resolve("team2@semail.test", home) == ["x@semail.test"])
        // A mailbox comes before an alias of its name.
        #expect(try resolve("x@semail.test", home) == ["x@semail.test"])
        #expect(try resolve("empty@semail.test", home) == nil)
    }

    /// Targets are mailboxes: no chains, no loops, and no mail that vanishes.
    @Test func anAliasThatLeadsNowhereIsTrouble() throws {
        let home = try home(["control/aliases": "a@semail.test b@semail.test\nb@semail.test a@semail.test\nc@semail.test nobody@semail.test\nd@semail.test x@semail.test nonsense\ne@semail.test e@semail.test\n"])
        for name in ["a", "b", "c", "d", "e"] { #expect(throws: ControlError.self, "\(name)") { try resolve("\(name)@semail.test", home) } }
    }

    /// RFC 5321 4.5.1: postmaster, with and without a domain; RFC 2142: abuse.
    @Test func postmasterIsAlwaysThere() throws {
        let home = try home()
        for bare in ["postmaster", "POSTMASTER"] { #expect(try resolve(Address(localPart: Array(bare.utf8), domain: []), home)?.first?.lowercased() == "postmaster@mail.semail.test") }
        for text in ["Postmaster@semail.test", "abuse@semail.test", "abuse@mail.semail.test", "ABUSE@SEMAIL.TEST"] { #expect(try resolve(text, home) == ["postmaster@mail.semail.test"], "\(text)") }
        for text in ["postmaster@other.example", "abuse@other.example", "hostmaster@semail.test"] { #expect(try resolve(text, home) == nil, "\(text)") }
    }

    @Test func postmasterCanBeSomebody() throws {
        let home = try home(["control/postmaster": "admin@semail.test\n"])
        #expect(try resolve("postmaster@semail.test", home) == ["admin@semail.test"])
        #expect(try resolve("abuse@semail.test", home) == ["admin@semail.test"])
        // A mailbox of that very name comes first.
        #expect(try resolve("postmaster@mail.semail.test", home) == ["postmaster@mail.semail.test"])
        let alias = try self.home(["control/aliases": "abuse@semail.test y@semail.test\n"])
        #expect(try resolve("abuse@semail.test", alias) == ["y@semail.test"])
    }

    @Test func aPostmasterWithoutAMailboxIsTrouble() throws {
        for value in ["nobody@semail.test\n", "nonsense\n", "x@\n"] {
            let home = try home(["control/postmaster": value])
            #expect(throws: ControlError.self) { try resolve("postmaster@semail.test", home) }
        }
    }

    /// RFC 5321 4.1.3: an address literal that is this end of the connection is this host.
    @Test func ourOwnLiteral() throws {
        let home = try home()
        #expect(try resolve("postmaster@[192.0.2.1]", home, local: "192.0.2.1") == ["postmaster@mail.semail.test"])
        #expect(try resolve("postmaster@[IPv6:2001:DB8::1]", home, local: "2001:db8::1") == ["postmaster@mail.semail.test"])
        #expect(try resolve("postmaster@[192.0.2.2]", home, local: "192.0.2.1") == nil)
        #expect(try resolve("postmaster@[192.0.2.1]", home) == nil)
        #expect(try resolve("nobody@[192.0.2.1]", home, local: "192.0.2.1") == nil)
    }

    @Test func suspendedMailboxesAreFoundAsSuch() throws {
        let home = try home()
        try home.addMailbox("s@semail.test", state: .suspended)
        let resolver = try Resolver(home.home)
        guard case .mailboxes(let found) = try resolver.resolve(Address("s@semail.test")!, hostname: Array(Self.hostname.utf8)) else { Issue.record("not found"); return }
        #expect(found.map(\.1.state) == [.suspended])
    }
}
