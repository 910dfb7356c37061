// What is said to a name server for a subdomain, and what is read of its answers.
import Testing

@testable import Provisioning

@Suite struct SubdomainRecordsTests {
    private static let host = SubdomainRecords.Host(zone: "semail.test", hostname: "mail.semail.test", portal: nil)
    private static let key = (name: "a.b._domainkey.ssow.semail.test", text: "v=DKIM1; k=rsa; p=" + String(repeating: "A", count: 400))

    private static func records(_ portal: String? = nil) throws -> SubdomainRecords {
        try SubdomainRecords("ssow.semail.test", owner: "ssow", keys: [key], at: SubdomainRecords.Host(zone: "semail.test", hostname: "mail.semail.test", portal: portal))
    }

    /// Whatever is added has a name that was asked to be free.
    @Test(arguments: [nil, "portal.semail.test"]) func everyNameThatIsMadeMustBeFree(_ portal: String?) throws {
        let lines = try Self.records(portal).whereFree
        let free = lines.filter { $0.hasPrefix("prereq nxdomain ") }.map { $0.dropFirst(16) }
        let added = lines.filter { $0.hasPrefix("update add ") }.map { $0.dropFirst(11).prefix { $0 != " " } }
        #expect(added.count == (portal == nil ? 8 : 9) && Set(added).isSubset(of: free))
        #expect(lines.count == free.count + added.count)
        #expect(added.allSatisfy { $0 == "ssow.semail.test." || $0.hasSuffix(".ssow.semail.test.") })
    }

    @Test func whoeverHasIMAPIsToldWhere() throws {
        let host = SubdomainRecords.Host(zone: "semail.test", hostname: "mail.semail.test", portal: nil, hasIMAP: true)
        let with = try SubdomainRecords("ssow.semail.test", owner: "ssow", keys: [Self.key], at: host).whereFree
        #expect(with.contains("update add _imaps._tcp.ssow.semail.test. 300 SRV 0 1 993 mail.semail.test."))
        #expect(try Self.records().whereFree.contains("update add _imaps._tcp.ssow.semail.test. 300 SRV 0 0 0 ."))
    }

    /// And whatever is added is removed, by its name and type, and never a whole name.
    @Test func everythingThatIsMadeIsRemoved() throws {
        let made = try Self.records("portal.semail.test")
        let added = made.whereFree.filter { $0.hasPrefix("update add ") }.map { line in
            let words = line.split(separator: " ")
            return "update delete \(words[2]) \(words[4])"
        }
        let removed = made.removal(of: ["a.b"]).filter { $0.hasPrefix("update ") }
        for line in added { #expect(removed.contains { $0 == line || $0.hasPrefix(line + " ") }, "\(line)") }
        #expect(removed.allSatisfy { $0.split(separator: " ").count >= 4 })
        #expect(removed.contains(#"update delete ssow.semail.test. TXT "v=spf1 mx -all""#))
    }

    @Test func itHoldsOnlyIfTheMarksAreAsTheyWere() throws {
        let made = try Self.records()
        for lines in [made.whereOurs(insteadOf: ["x", "y"]), made.removal(of: ["x", "y"])] {
            #expect(lines.prefix(3) == [
                #"prereq yxrrset _semail.ssow.semail.test. TXT "semail owner=ssow""#, #"prereq yxrrset _keys._semail.ssow.semail.test. TXT "x""#,
                #"prereq yxrrset _keys._semail.ssow.semail.test. TXT "y""#,
            ])
        }
        #expect(made.removal(of: [])[1] == "prereq nxrrset _keys._semail.ssow.semail.test. TXT")
    }

    /// A mark that somebody has changed leads nowhere else.
    @Test func marksThatAreNoKeysNamesAreNotFollowed() throws {
        let removed = try Self.records().removal(of: ["good", "x.ssow.semail.test. A\nupdate delete semail.test.", "", "a b"])
        #expect(removed.filter { $0.contains("_domainkey") } == ["update delete good._domainkey.ssow.semail.test. TXT"])
    }

    @Test(arguments: ["a._domainkey.other.semail.test", "a._domainkey.ssow.semail.test.", "_domainkey.ssow.semail.test", "a b._domainkey.ssow.semail.test", "a\n._domainkey.ssow.semail.test", ""])
    func keysOfOthersAreRefused(_ name: String) {
        #expect(throws: ProvisioningError.self) { try SubdomainRecords("ssow.semail.test", owner: "ssow", keys: [(name, "v=DKIM1")], at: Self.host) }
    }
}

@Suite struct TextDataTests {
    @Test(arguments: [
        ("", #""""#), ("a b", #""a b""#), (#"say "hi" \ "#, #""say \"hi\" \\ ""#), ("\u{0}\t\u{7f}é", #""\000\009\127\195\169""#),
    ]) func whatIsWrittenIsRead(_ text: String, _ written: String) {
        #expect(TextData.written(text) == written)
        #expect(TextData.read(written) == text)
    }

    @Test(arguments: [254, 255, 256, 510, 511]) func stringsHave255OctetsAtMost(_ count: Int) {
        let text = String(repeating: "x", count: count)
        let written = TextData.written(text)
        #expect(written.split(separator: "\"").filter { $0 != " " }.allSatisfy { $0.count <= 255 })
        #expect(TextData.read(written) == text)
    }

    @Test(arguments: ["", "a", #"a "b""#, #""\25""#, #""\999""#, #""\"#]) func whatIsNone(_ written: String) {
        // The empty text is what an answer without strings would be.
        #expect(TextData.read(written) == (written.isEmpty ? "" : nil))
    }
}

@Suite struct ZoneSettingTests {
    @Test(arguments: [
        ("192.0.2.1", "192.0.2.1", 53), ("192.0.2.1:5353", "192.0.2.1", 5353), ("2001:db8::1", "2001:db8::1", 53), ("[2001:db8::1]:5353", "2001:db8::1", 5353),
        ("ns.example.org", "ns.example.org", 53), ("NS.example.org:54", "ns.example.org", 54), ("localhost:53", "localhost", 53),
    ]) func serversAreRead(_ text: String, _ address: String, _ port: UInt16) throws {
        let place = try #require(ZoneServer.split(text))
        #expect(place.port == port)
        #expect(place.address.lowercased() == address)
    }

    @Test(arguments: ["", ":", ":53", "192.0.2.1:", "192.0.2.1:0", "192.0.2.1:65536", "[192.0.2.1]:53", "[2001:db8::1]", "[2001:db8::1", "a b", "300.1.1.1", "a\nserver b"])
    func serversThatAreNone(_ text: String) { #expect(ZoneServer.split(text) == nil) }

    @Test(arguments: [
        ("https://mail.example.org", "mail.example.org"), ("https://mail.example.org/x", "mail.example.org"), ("http://mail.example.org:8443/x", "mail.example.org"),
        ("https://mail.example.org?x", "mail.example.org"), ("https://", nil), ("", nil), ("mail.example.org", nil), ("https://:1/", nil),
    ]) func hostsOfURLs(_ url: String, _ host: String?) { #expect(Zone.host(ofURL: url) == host) }
}
