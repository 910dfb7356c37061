// The records of one subdomain, and the updates that make and remove them. Pure: names in, lines for nsupdate out.
//
//     SUB                    MX    10 HOSTNAME
//     SUB                    TXT   "v=spf1 mx -all"                   only this host sends mail from there
//     _dmarc.SUB             TXT   "v=DMARC1; p=quarantine"           and what it sends is signed
//     KEY._domainkey.SUB     TXT   "v=DKIM1; ..."                     for each key
//     _submissions._tcp.SUB  SRV   0 1 465 HOSTNAME                   RFC 6186, RFC 8314: where clients send
//     _imaps._tcp.SUB        SRV   0 1 993 HOSTNAME                   and read; or, where there is no IMAP, 0 0 0 .
//     autoconfig.SUB         CNAME PORTAL                             where Thunderbird asks for both; only with a portal
//     _semail.SUB            TXT   "semail owner=OWNER"               whose all this is
//     _keys._semail.SUB      TXT   "KEY"                              the keys, so that they are found again
import DKIM
import Unix

struct SubdomainRecords {
    /// What all subdomains have in common.
    struct Host: Sendable {
        let zone: String
        let hostname: String
        /// The portal's name; nil: it has none.
        let portal: String?
        /// Whether mail is read at the port 993 of the hostname.
        var hasIMAP = false
    }

    /// Changes spread within five minutes: a name that was given back can be somebody else's soon.
    private static let ttl = 300
    private static let spf = "v=spf1 mx -all"
    /// Not `reject`: what a mailing list changes would be lost without a word.
    private static let dmarc = "v=DMARC1; p=quarantine"

    private let subdomain: String
    private let host: Host
    /// The text that marks the subdomain as this owner's.
    let mark: String
    /// The names of keys below `_domainkey.SUB`, and their texts.
    private let keys: [(selector: String, text: String)]

    init(_ subdomain: String, owner: String, keys: [(name: String, text: String)], at host: Host) throws(ProvisioningError) {
        self.subdomain = subdomain
        self.host = host
        mark = "semail owner=\(owner)"
        var selectors: [(selector: String, text: String)] = []
        for (name, text) in keys {
            let end = "._domainkey.\(subdomain)"
            guard name.hasSuffix(end), case let selector = String(name.dropLast(end.utf8.count)), KeyFile.isSelector(selector) else {
                throw ProvisioningError("\(name) is no name of a key of \(subdomain)")
            }
            selectors.append((selector, text))
        }
        self.keys = selectors
    }

    static func ownerMark(_ subdomain: String) -> String { "_semail.\(subdomain)" }
    static func keyMark(_ subdomain: String) -> String { "_keys._semail.\(subdomain)" }

    private var spfRecord: String { TextData.written(SubdomainRecords.spf) }
    private func key(_ selector: String) -> String { "\(selector)._domainkey.\(subdomain)" }

    // MARK: Updates

    /// Makes all of them, if none of the names is in use.
    var whereFree: [String] {
        let names = [
            subdomain, "_dmarc.\(subdomain)", "_submissions._tcp.\(subdomain)", "_imaps._tcp.\(subdomain)", "autoconfig.\(subdomain)",
            SubdomainRecords.ownerMark(subdomain), SubdomainRecords.keyMark(subdomain),
        ]
        return (names + keys.map { key($0.selector) }).map { "prereq nxdomain \($0)." } + additions
    }

    /// Makes them anew in the place of those that an earlier try made, with these keys.
    func whereOurs(insteadOf old: [String]) -> [String] { conditions(old) + deletions(old) + additions }

    func removal(of old: [String]) -> [String] { conditions(old) + deletions(old) }

    /// The name and its mark are not in use; nothing is changed.
    static func question(_ subdomain: String) -> [String] { [subdomain, ownerMark(subdomain)].map { "prereq nxdomain \($0)." } }

    /// A key of the zone's own name, unless there is something.
    static func key(_ name: String, _ text: String, in zone: String) throws(ProvisioningError) -> [String] {
        guard name.hasSuffix("._domainkey.\(zone)"), KeyFile.isSelector(name) else { throw ProvisioningError("\(name) is no name of a key of \(zone)") }
        return ["prereq nxdomain \(name).", "update add \(name). \(ttl) TXT \(TextData.written(text))"]
    }

    /// The marks are as they were read.
    private func conditions(_ old: [String]) -> [String] {
        let keyMark = SubdomainRecords.keyMark(subdomain)
        return ["prereq yxrrset \(SubdomainRecords.ownerMark(subdomain)). TXT \(TextData.written(mark))"]
            + (old.isEmpty ? ["prereq nxrrset \(keyMark). TXT"] : old.map { "prereq yxrrset \(keyMark). TXT \(TextData.written($0))" })
    }

    /// By name and type, or to the letter: what an admin has put beside them stays.
    private func deletions(_ old: [String]) -> [String] {
        [
            "\(subdomain). MX", "\(subdomain). TXT \(spfRecord)", "_dmarc.\(subdomain). TXT", "_submissions._tcp.\(subdomain). SRV",
            "_imaps._tcp.\(subdomain). SRV", "autoconfig.\(subdomain). CNAME", "\(SubdomainRecords.ownerMark(subdomain)). TXT",
            "\(SubdomainRecords.keyMark(subdomain)). TXT",
        ].map { "update delete \($0)" }
            // A mark that is no key's name was not made by us.
            + old.filter(KeyFile.isSelector).map { "update delete \(key($0)). TXT" }
    }

    private var additions: [String] {
        let text = { (name: String, text: String) in "\(name). \(SubdomainRecords.ttl) TXT \(TextData.written(text))" }
        let other = { (name: String, data: String) in "\(name). \(SubdomainRecords.ttl) \(data)" }
        var records = [
            other(subdomain, "MX 10 \(host.hostname)."), text(subdomain, SubdomainRecords.spf), text("_dmarc.\(subdomain)", SubdomainRecords.dmarc),
            other("_submissions._tcp.\(subdomain)", "SRV 0 1 465 \(host.hostname)."), other("_imaps._tcp.\(subdomain)", host.hasIMAP ? "SRV 0 1 993 \(host.hostname)." : "SRV 0 0 0 ."),
            text(SubdomainRecords.ownerMark(subdomain), mark),
        ]
        if let portal = host.portal { records.append(other("autoconfig.\(subdomain)", "CNAME \(portal).")) }
        for (selector, record) in keys {
            records.append(text(key(selector), record))
            records.append(text(SubdomainRecords.keyMark(subdomain), selector))
        }
        return records.map { "update add \($0)" }
    }
}

/// The data of a TXT record as zone files, nsupdate and dig write it: strings of 255 octets at most, in quotes (RFC 1035 5.1).
enum TextData {
    static func written(_ text: String) -> String {
        let octets = Array(text.utf8)
        let strings = stride(from: 0, to: max(1, octets.count), by: 255).map { octets[$0..<min($0 + 255, octets.count)] }
        return strings.map { "\"" + $0.map(escaped).joined() + "\"" }.joined(separator: " ")
    }

    private static func escaped(_ octet: UInt8) -> String {
        switch octet {
        case 0x22, 0x5c: "\\" + String(UnicodeScalar(octet))
        case 0x20...0x7e: String(UnicodeScalar(octet))
        default: "\\" + String(repeating: "0", count: octet < 10 ? 2 : octet < 100 ? 1 : 0) + "\(octet)"
        }
    }

    /// The strings joined; nil: this is none. Octets that are no UTF-8 become U+FFFD.
    static func read(_ written: some StringProtocol) -> String? {
        var octets: [UInt8] = []
        var rest = Array(written.utf8)[...]
        while let quote = rest.popFirst() {
            guard quote == 0x22 else { return nil }
            while let octet = rest.popFirst(), octet != 0x22 {
                guard octet == 0x5c else { octets.append(octet); continue }
                guard let next = rest.popFirst() else { return nil }
                guard 0x30...0x39 ~= next else { octets.append(next); continue }
                guard rest.count >= 2, let number = UInt8(String(decoding: [next] + rest.prefix(2), as: UTF8.self)) else { return nil }
                octets.append(number)
                rest = rest.dropFirst(2)
            }
            if rest.first == 0x20 { rest = rest.dropFirst() }
        }
        return String(decoding: octets, as: UTF8.self)
    }
}
