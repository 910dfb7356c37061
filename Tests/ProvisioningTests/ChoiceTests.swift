// Which addresses people may choose, and which address a container gets.
import Control
import Mail
import Testing
import Unix

@testable import Provisioning

@Suite struct ContainerNetworkTests {
    @Test func addressesFollowFromUids() throws {
        let network = try ContainerNetwork("172.30.0.0/16")
        #expect(network.gateway == "172.30.0.1" && network.text == "172.30.0.0/16")
        #expect(network.address(uid: 30000, firstUid: 30000) == "172.30.0.2")
        #expect(network.address(uid: 30254, firstUid: 30000) == "172.30.1.0")
        #expect(network.address(uid: 30000 + 65532, firstUid: 30000) == "172.30.255.254")
        // The last is everybody's.
        #expect(network.address(uid: 30000 + 65533, firstUid: 30000) == nil)
        #expect(network.address(uid: 29999, firstUid: 30000) == nil)
    }

    @Test func smallNetworksHaveFew() throws {
        let network = try ContainerNetwork("10.1.2.16/28")
        #expect(network.gateway == "10.1.2.17" && network.address(uid: 12, firstUid: 0) == "10.1.2.30" && network.address(uid: 13, firstUid: 0) == nil)
    }

    @Test(arguments: ["", "172.30.0.0", "172.30.0.0/", "172.30.0.1/16", "172.30.0.0/7", "172.30.0.0/29", "172.30.0/16", "fd00::/64", "172.30.0.0/16/16", "x/16"]) func whatIsNoNetwork(text: String) {
        #expect(throws: ProvisioningError.self) { try ContainerNetwork(text) }
    }
}

@Suite struct AddressPolicyTests {
    private func policy(_ settings: [(Setting, String)]) throws -> AddressPolicy {
        let path = "/tmp/semail-policy-\(Unix.Process.id)-\(Random.bits())"
        try Path.makeDirectory(path, mode: 0o700)
        defer { if let tmp = try? Directory("/tmp") { try? Tree.remove(String(path.dropFirst(5)), in: tmp) } }
        let control = try Control(path)
        for (setting, value) in [(.hostname, "mail.semail.test"), (.domain, "semail.test")] + settings { try control.set(setting, to: value) }
        return try AddressPolicy(control)
    }

    private func refusal(_ address: String, _ policy: AddressPolicy) throws -> Refusal? {
        let address = try Name.mailbox(address)
        do throws(ProvisioningError) { try policy.require(address); return nil } catch { return error.refusal }
    }

    @Test func threeKinds() throws {
        let policy = try policy([])
        #expect(policy.kind(of: try Name.mailbox("a@semail.test")) == .system)
        #expect(policy.kind(of: try Name.mailbox("a@a.semail.test")) == .free)
        for own in ["a@example.org", "a@notsemail.test", "a@semail.test.example.org"] { #expect(policy.kind(of: try Name.mailbox(own)) == .own) }
    }

    @Test func whatMayBeChosen() throws {
        let policy = try policy([(.reservedNames, "president\nNews")])
        for (address, expected) in [
            ("a@a.semail.test", nil), ("a@example.org", nil), ("a@semail.test", .notOffered), ("a@a.b.semail.test", .badDomain), ("a@www.semail.test", .reserved), ("a@mail.semail.test", .reserved),
            ("a@postmaster.semail.test", .reserved), ("a@president.semail.test", .reserved), ("president@example.org", .reserved), ("a@news.semail.test", .reserved), ("a@localhost", .badDomain),
            ("a@\(String(repeating: "b", count: 41)).semail.test", .badDomain),
        ] as [(String, Refusal?)] { #expect(try refusal(address, policy) == expected, "\(address)") }
    }

    @Test func whatTheAdminOffers() throws {
        let open = try policy([(.domainOpen, "yes"), (.ownDomains, "no")])
        #expect(try refusal("a@semail.test", open) == nil)
        #expect(try refusal("a@example.org", open) == .notOffered)
        let without = try policy([(.domain, "")])
        #expect(try refusal("a@a.semail.test", without) == nil)
        #expect(without.kind(of: try Name.mailbox("a@a.semail.test")) == .own)
    }
}
