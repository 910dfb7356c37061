// Whether a domain's SPF record (RFC 7208) lets its mail come from the host. Read is what a person writes who has one mail server: mx,
// a:HOST, ip4: and ip6: with the host's addresses. What leads further (include, redirect, exists) is not followed: then it is said what
// was found, and the person knows better.
import DNS
import Unix

struct SPF {
    private static let wanted = "v=spf1 mx -all"

    private let domain: [UInt8]
    private let host: [UInt8]
    private let exchangers: MailExchangers
    private let questions: Questions

    init(_ domain: [UInt8], _ host: [UInt8], _ exchangers: MailExchangers, _ questions: Questions) {
        (self.domain, self.host, self.exchangers, self.questions) = (domain, host, exchangers, questions)
    }

    var finding: Finding {
        switch questions.texts(domain) {
        case .unknown: return Finding(.spf, .unknown, domain, wanted: SPF.wanted)
        case .none: return Finding(.spf, .missing, domain, wanted: SPF.wanted)
        case .found(let texts):
            let records = texts.filter(SPF.isRecord)
            if records.isEmpty { return Finding(.spf, .missing, domain, wanted: SPF.wanted) }
            // RFC 7208 4.5: two are none.
            let state: Finding.State = records.count > 1 ? .wrong : covers(records[0]) ? .ok : .wrong
            return Finding(.spf, state, domain, wanted: SPF.wanted, found: records.spoken)
        }
    }

    private static func isRecord(_ text: [UInt8]) -> Bool {
        let version = Array("v=spf1".utf8)
        return text.prefix(version.count).map { $0 }.lowercased == version && (text.count == version.count || text[version.count] == 0x20)
    }

    /// Terms count in their order, up to the first that decides (RFC 7208 4.6.2).
    private func covers(_ record: [UInt8]) -> Bool {
        var networks: [Network] = []
        for term in record.lowercased.split(separator: 0x20).dropFirst() {
            let isPass = ![0x2d, 0x7e, 0x3f].contains(term[term.startIndex])
            let mechanism = [0x2b, 0x2d, 0x7e, 0x3f].contains(term[term.startIndex]) ? term.dropFirst() : term
            let (name, value) = SPF.parts(Array(mechanism))
            if name == "all" { return isPass || areAllWithin(networks) }
            switch name {
            case "mx" where (value.isEmpty || value == domain) && isExchanger, "a" where value == host || value.isEmpty && domain == host:
                return isPass || areAllWithin(networks)
            case "ip4", "ip6":
                guard let network = Network(value, isIPv6: name == "ip6") else { continue }
                if isPass { networks.append(network) } else if isHostWithin([network], all: false) { return false }
            default: continue
            }
        }
        return areAllWithin(networks)
    }

    /// `mx/24`, `a:mail.example.org`, `ip4:192.0.2.0/24`: the name, and what stands behind the colon; of names without a length.
    private static func parts(_ mechanism: [UInt8]) -> (name: String, value: [UInt8]) {
        let name = mechanism.prefix { $0 != 0x3a && $0 != 0x2f }
        var value = Array(mechanism.dropFirst(name.count).drop { $0 == 0x3a })
        let text = String(decoding: name, as: UTF8.self)
        if text != "ip4", text != "ip6" { value = Array(value.prefix { $0 != 0x2f }) }
        if value.last == 0x2e { value.removeLast() }
        return (text, value)
    }

    private var isExchanger: Bool { if case .hosts(let hosts) = exchangers { hosts.contains { $0.name == host } } else { false } }

    /// Mail leaves by any of the host's addresses: one that is not covered is one too few.
    private func areAllWithin(_ networks: [Network]) -> Bool { !networks.isEmpty && isHostWithin(networks, all: true) }

    private func isHostWithin(_ networks: [Network], all: Bool) -> Bool {
        guard let addresses = questions.addresses(host), !addresses.isEmpty else { return false }
        let isWithin = { (address: NetworkAddress) in networks.contains { $0.contains(address) } }
        return all ? addresses.allSatisfy(isWithin) : addresses.contains(where: isWithin)
    }
}

/// `192.0.2.0/24`, `2001:db8::1`
private struct Network {
    private let octets: [UInt8]
    private let bits: Int

    init?(_ text: [UInt8], isIPv6: Bool) {
        let parts = text.split(separator: 0x2f, omittingEmptySubsequences: false).map { String(decoding: $0, as: UTF8.self) }
        guard parts.count == 1 || parts.count == 2, let address = NetworkAddress(text: parts[0]), address.isIPv6 == isIPv6 else { return nil }
        let most = isIPv6 ? 128 : 32
        guard let bits = parts.count == 2 ? Int(parts[1]) : most, 0...most ~= bits else { return nil }
        (octets, self.bits) = (address.octets, bits)
    }

    func contains(_ address: NetworkAddress) -> Bool {
        guard address.octets.count == octets.count else { return false }
        for (index, octet) in octets.enumerated() {
            let count = min(8, max(0, bits - 8 * index))
            let mask = UInt8(truncatingIfNeeded: 0xff00 >> count)
            if octet & mask != address.octets[index] & mask { return false }
        }
        return true
    }
}
