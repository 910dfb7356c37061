// Links that say who somebody is: by the owner's name, by a number, by the address of a container.
import Control
import Foundation
import Mail
import Testing
import Unix

@Suite struct LinkTests {
    private func home() throws -> ControlHome {
        let home = try ControlHome()
        try home.addMailbox("ssow@semail.test", owner: "ssow")
        try home.addMailbox("s@semail.test", owner: "s", state: .suspended)
        try home.write("mailboxes/broken@semail.test", "nonsense\n")
        for (name, target) in [
            ("~ssow", "ssow@semail.test"), ("#30001", "ssow@semail.test"), ("[172.30.0.5]", "ssow@semail.test"), ("[fd00:30::5]", "ssow@semail.test"), ("~capital", "SSOW@semail.test"),
            ("~s", "s@semail.test"), ("#30002", "s@semail.test"),
            ("~gone", "gone@semail.test"), ("~path", "./ssow@semail.test"), ("~absolute", home.path + "/mailboxes/ssow@semail.test"), ("~outside", "/etc/hostname"),
            ("~nonsense", "no address"), ("~chain", "~ssow"), ("~itself", "~itself"),
            ("~broken", "broken@semail.test"), ("~long", String(repeating: "x", count: 2000) + "@semail.test"), ("~", "ssow@semail.test"),
        ] { try FileManager.default.createSymbolicLink(atPath: home.path + "/mailboxes/" + name, withDestinationPath: target) }
        return home
    }

    private func named(_ link: String, _ home: ControlHome) throws -> Mailboxes.Named { try Mailboxes(home.home.mailboxes).named(link) }

    @Test(arguments: ["~ssow", "#30001", "[172.30.0.5]", "[fd00:30::5]"]) func links(link: String) throws {
        #expect(try named(link, try home()) == .mailbox(Address("ssow@semail.test")!))
    }

    @Test(arguments: ["~xredon", "#30003", "[172.30.0.6]", "[]", "#", "[172.30.0.5", "172.30.0.5", "~SSOW", "~ssow ", "", "~ssow\0", "../mailboxes/~ssow", "~../~ssow", "/etc/hostname",
        ".", "..", String(repeating: "~", count: 300)]) func noLinks(link: String) throws {
        #expect(try named(link, try home()) == .none)
    }

    /// A mailbox' own file is no link to itself: no name that a stranger chooses stands for anybody.
    @Test func filesAreNoLinks() throws {
        let home = try home()
        for name in ["ssow@semail.test", "@semail.test", "s@semail.test", "broken@semail.test"] { #expect(try named(name, home) == .none, "\(name)") }
    }

    /// Suspended or gone: known, and nobody.
    @Test(arguments: ["~s", "#30002", "~gone"]) func closedOnes(link: String) throws {
        #expect(try named(link, try home()) == .closed)
    }

    /// Wherever it leads, what is no mailbox' address gives nobody a mailbox.
    @Test(arguments: ["~path", "~absolute", "~outside", "~nonsense", "~chain", "~itself", "~long"]) func oddTargets(link: String) throws {
        let answer = try named(link, try home())
        #expect(answer == .closed || answer == .none, "\(answer)")
        #expect(answer == .closed, "a link that is there and leads nowhere leaves its bearer unknown, not the host")
    }

    /// Trouble is not "nobody", and not "somebody" either.
    @Test func aMailboxThatCannotBeRead() throws {
        let home = try home()
        #expect(throws: SystemError.self) { try named("~broken", home) }
    }

    @Test func theResolverSaysTheSame() throws {
        let home = try home(), resolver = try Resolver(home.home)
        #expect(try resolver.named("~ssow") == .mailbox(Address("ssow@semail.test")!))
        #expect(try resolver.named("~s") == .closed)
        #expect(try resolver.named("~nobody") == .none)
    }

    /// The mailbox goes, the link stays for a moment; a mailbox comes back.
    @Test func aLinkFollowsItsMailbox() throws {
        let home = try home(), mailboxes = try Mailboxes(home.home.mailboxes)
        try FileManager.default.removeItem(atPath: home.path + "/mailboxes/ssow@semail.test")
        #expect(try mailboxes.named("~ssow") == .closed)
        try home.addMailbox("ssow@semail.test", owner: "ssow", state: .suspended)
        #expect(try mailboxes.named("~ssow") == .closed)
        try home.addMailbox("ssow@semail.test", owner: "ssow")
        #expect(try mailboxes.named("~ssow") == .mailbox(Address("ssow@semail.test")!))
    }

    // MARK: Whose domain it is

    @Test(arguments: [
        ("x@semail.test", true), ("x@SEMAIL.Test", true), ("x@mail.semail.test", true), ("x@MAIL.semail.test", true), ("x@[192.0.2.1]", true), ("x@[IPv6:2001:DB8::1]", false),
        ("x@[192.0.2.2]", false), ("x@example.org", false), ("x@test", false),
        ("x@sub.semail.test", false), ("x@semail.test.example.org", false), ("x@sem.ail.test", false),
    ]) func ourDomains(text: String, isOurs: Bool) throws {
        let home = try home(), resolver = try Resolver(home.home)
        #expect(try resolver.isOurs(Address(text)!, hostname: Array("mail.semail.test".utf8), localAddress: "192.0.2.1") == isOurs)
    }

    @Test func withoutADomainItIsOurs() throws {
        let home = try home(), resolver = try Resolver(home.home)
        #expect(try resolver.isOurs(Address(localPart: Array("postmaster".utf8), domain: []), hostname: Array("mail.semail.test".utf8)))
        // No address of this end, no literal.
        #expect(try !resolver.isOurs(Address("x@[192.0.2.1]")!, hostname: Array("mail.semail.test".utf8)))
    }
}
