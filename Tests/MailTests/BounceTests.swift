// A bounce taken apart: multipart/report of RFC 6522, message/delivery-status of RFC 3464, and nothing in it that a stranger's words could add.
import Testing
@testable import Mail

@Suite struct BounceTests {
    static let original = "Received: from x\n\tby y\nFrom: a@b\nSubject: hello\n".octets

    /// A header section by small field names, and what stands behind its empty line.
    struct Entity {
        var fields: [(name: String, value: String)] = []
        var body = ""

        init(_ text: String) {
            var rest = text[...]
            while let end = rest.firstIndex(of: "\n") {
                let line = rest[..<end]
                rest = rest[rest.index(after: end)...]
                if line.isEmpty { break }
                if let first = line.first, first == " " || first == "\t", !fields.isEmpty {
                    fields[fields.count - 1].value += line
                } else if let colon = line.firstIndex(of: ":") {
                    fields.append((line[..<colon].lowercased(), String(line[line.index(after: colon)...].drop { $0 == " " })))
                } else {
                    Issue.record("no header line: \(line)")
                }
            }
            body = String(rest)
        }

        subscript(name: String) -> String? { fields.first { $0.name == name }?.value }
    }

    static func bounce(
        _ failures: [Fate] = [Fate(recipient: Envelope.Recipient(Address("x@semail.test")!), status: "5.1.1".octets, text: "There is no such mailbox".octets)],
        to addressee: String = "sender@example.org", returning headers: [UInt8] = original, isDouble: Bool = false
    ) -> [UInt8] {
        DeliveryReport(.failed, hostname: "mail.semail.test".octets, addressee: Address(addressee)!, fates: failures, arrival: 1_795_467_000, now: 1_795_467_913,
               unique: "0123456789abcdef.1795467913", isDouble: isDouble).message(.headers(headers))
    }

    /// The whole, and its parts by the boundary (RFC 2046 5.1.1).
    static func takeApart(_ bytes: [UInt8]) throws -> (whole: Entity, parts: [Entity]) {
        let whole = Entity(bytes.text)
        let type = try #require(whole["content-type"])
        let boundary = try #require(type.split(separator: "boundary=\"").last?.split(separator: "\"").first)
        #expect(boundary.utf8.count <= 70)
        var sections: [String] = [""]
        var isClosed = false
        for line in whole.body.split(separator: "\n", omittingEmptySubsequences: false) {
            if line == "--\(boundary)" { sections.append("") } else if line == "--\(boundary)--" { isClosed = true } else if !isClosed { sections[sections.count - 1] += line + "\n" }
        }
        #expect(isClosed)
        return (whole, sections.dropFirst().map { Entity($0) })
    }

    @Test func headersOfTheWhole() throws {
        let (whole, parts) = try Self.takeApart(Self.bounce())
        #expect(whole["from"] == "Mail Delivery System <postmaster@mail.semail.test>")
        #expect(whole["to"] == "sender@example.org")
        #expect(whole["date"] == "Mon, 23 Nov 2026 21:05:13 +0000")
        #expect(whole["message-id"] == "<0123456789abcdef.1795467913@mail.semail.test>")
        // RFC 3834 5: so that nobody's vacation program answers.
        #expect(whole["auto-submitted"] == "auto-replied")
        #expect(whole["mime-version"] == "1.0")
        #expect(whole["content-type"]?.hasPrefix("multipart/report; report-type=delivery-status;") == true)
        for name in ["from", "to", "date", "subject", "message-id", "mime-version", "content-type"] { #expect(whole.fields.filter { $0.name == name }.count == 1) }
        #expect(parts.count == 3)
    }

    @Test func theThreePartsStandInTheirOrder() throws {
        let (_, parts) = try Self.takeApart(Self.bounce())
        #expect(parts.map { $0["content-type"] } == ["text/plain; charset=utf-8", "message/delivery-status", "text/rfc822-headers"])
        #expect(parts[0].body.contains("<x@semail.test>"))
        #expect(parts[0].body.contains("There is no such mailbox"))
        #expect(parts[2].body.hasPrefix(Self.original.text))
    }

    /// RFC 3464 2.1: per-message fields, an empty line, then a group per recipient, empty lines between.
    @Test func deliveryStatus() throws {
        let failures = [
            Fate(recipient: Envelope.Recipient(Address("x@semail.test")!), status: "5.1.1".octets, text: "no".octets),
            Fate(recipient: Envelope.Recipient(Address("\"a b\"@semail.test")!), status: "5.4.7".octets, text: "too old".octets),
        ]
        let status = try Self.takeApart(Self.bounce(failures)).parts[1].body
        let groups = status.split(separator: "\n\n").map { Entity($0 + "\n\n") }
        #expect(groups.count == 3)
        #expect(groups[0]["reporting-mta"] == "dns; mail.semail.test")
        #expect(groups[0]["arrival-date"] == "Mon, 23 Nov 2026 20:50:00 +0000")
        for (group, failure) in zip(groups.dropFirst(), failures) {
            #expect(group["final-recipient"] == "rfc822; \(failure.recipient.address.bytes.text)")
            #expect(group["action"] == "failed")
            #expect(group["status"] == failure.status.text)
            #expect(group["diagnostic-code"]?.hasSuffix("; \(failure.text.text)") == true)
            #expect(group.fields.count == 4)
        }
    }

    /// Words of others stay on their line: they add no header, no recipient and no part.
    @Test(arguments: ["a\nAction: delivered\n\nFinal-Recipient: rfc822; evil@example.org", "a\r\n\r\n--=_0123456789abcdef.1795467913\r\n", "\u{0}\u{7f}\u{1b}[31m", "\n\n\n"])
    func foreignWordsAddNothing(text: String) throws {
        let plain = try Self.takeApart(Self.bounce())
        let (whole, parts) = try Self.takeApart(Self.bounce([Fate(recipient: Envelope.Recipient(Address("x@semail.test")!), status: "5.1.1".octets, text: text.octets)]))
        #expect(parts.count == 3)
        #expect(whole.fields.map(\.name) == plain.whole.fields.map(\.name))
        #expect(parts[0].body.split(separator: "\n", omittingEmptySubsequences: false).count == plain.parts[0].body.split(separator: "\n", omittingEmptySubsequences: false).count)
        #expect(parts[1].body.split(separator: "\n", omittingEmptySubsequences: false).count == plain.parts[1].body.split(separator: "\n", omittingEmptySubsequences: false).count)
        #expect(!parts[1].body.utf8.contains { $0 < 0x20 && $0 != 10 || $0 == 0x7f })
    }

    @Test func noCRIsWritten() {
        #expect(!Self.bounce().contains(0x0d))
        #expect(Self.bounce().last == 0x0a)
    }

    @Test(arguments: ["", "\n", "A: b", "A: b\n", "no header at all"])
    func whateverComesBackTheEndIsClosed(headers: String) throws {
        let (_, parts) = try Self.takeApart(Self.bounce(returning: headers.octets))
        #expect(parts.count == 3)
    }

    @Test func aDoubleBounceSaysSo() throws {
        let (whole, parts) = try Self.takeApart(Self.bounce(to: "postmaster@mail.semail.test", isDouble: true))
        #expect(whole["subject"] == "Undeliverable bounce")
        #expect(whole["to"] == "postmaster@mail.semail.test")
        #expect(parts[0].body.contains("A notice of failure could not be delivered"))
        #expect(try Self.takeApart(Self.bounce()).whole["subject"] == "Undelivered mail returned to sender")
    }

    /// RFC 6533 3 and 4: other types, and `utf-8` for the recipient's address.
    @Test func addressesInUTF8() throws {
        let parts = try Self.takeApart(Self.bounce([Fate(recipient: Envelope.Recipient(Address("ü@semail.test")!), status: "5.1.1".octets, text: "no".octets)])).parts
        #expect(parts[1]["content-type"] == "message/global-delivery-status")
        #expect(parts[1].body.contains("Final-Recipient: utf-8; ü@semail.test\n"))
        #expect(parts[2]["content-type"] == "message/global-headers")
    }

    @Test func headersInUTF8() throws {
        let parts = try Self.takeApart(Self.bounce(returning: "Subject: ü\n".octets)).parts
        #expect(parts[1].body.contains("Final-Recipient: rfc822; x@semail.test\n"))
        #expect(parts[2]["content-type"] == "message/global-headers")
        #expect(parts[2].body.hasPrefix("Subject: ü\n"))
    }

    /// RFC 2045 6.1 and 6.4: where 8-bit octets stand, the part says so, and what encloses it too; without a word they are 7bit.
    @Test(arguments: ["ü@semail.test", "x@semail.test"], ["Subject: ü\n", "Subject: u\n"])
    func eightBitOctetsAreDeclared(recipient: String, headers: String) throws {
        let (whole, parts) = try Self.takeApart(Self.bounce([Fate(recipient: Envelope.Recipient(Address(recipient)!), status: "5.1.1".octets, text: "no".octets)], returning: headers.octets))
        for part in parts where part.body.utf8.contains(where: { $0 >= 0x80 }) { #expect(part["content-transfer-encoding"] == "8bit", "\(part["content-type"] ?? "")") }
        if parts.contains(where: { $0["content-transfer-encoding"] == "8bit" }) { #expect(whole["content-transfer-encoding"] == "8bit") }
    }

    /// RFC 6533 4: message/global-headers is UTF-8; octets of another charset are no reason for it.
    @Test func octetsThatAreNoUTF8AreNotCalledGlobal() throws {
        let bytes = Self.bounce(returning: "Subject: ".octets + [0xfc] + "\n".octets)
        let (_, parts) = try Self.takeApart(bytes)
        #expect(parts[1]["content-type"] == "message/delivery-status")
        #expect(parts[2]["content-type"] == "text/rfc822-headers")
    }
}
