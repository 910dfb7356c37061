// What is found of one record, and the line that says so. What strangers wrote goes into it escaped and cut.
import DNS
import Unix

struct Finding {
    enum Kind: String { case mx, spf, dkim, dmarc }
    enum State: String { case ok, missing, wrong, unknown }

    /// Enough to recognise what it is.
    private static let foundLimit = 500

    let kind: Kind
    let state: State
    let name: [UInt8]
    let wanted: String
    let found: [UInt8]

    init(_ kind: Kind, _ state: State, _ name: [UInt8], wanted: String, found: [UInt8] = []) {
        (self.kind, self.state, self.name, self.wanted, self.found) = (kind, state, name, wanted, found)
    }

    /// At once: what is known is known, whatever becomes of the next question.
    func say() throws {
        let fields = [Array(kind.rawValue.utf8), Array(state.rawValue.utf8), Finding.escaped(name), Finding.escaped(Array(wanted.utf8)), Finding.escaped(found)]
        try IO.writeAll(Descriptor.standardOutput, Array(fields.joined(separator: [0x09])) + [0x0a])
    }

    /// As zone files have it (RFC 1035 5.1): `\009` is a TAB.
    private static func escaped(_ text: [UInt8]) -> [UInt8] {
        var result: [UInt8] = []
        for octet in text.prefix(foundLimit) {
            if 0x20...0x7e ~= octet, octet != 0x5c { result.append(octet) } else { result += [0x5c, 0x30 + octet / 100, 0x30 + octet / 10 % 10, 0x30 + octet % 10] }
        }
        if text.count > foundLimit { result += Array("...".utf8) }
        return result
    }

    // MARK: Records

    /// Mail goes to the hosts of the lowest preference, in no order (RFC 5321 5.1): ours must be one of them.
    static func exchanger(_ domain: [UInt8], _ host: [UInt8], _ exchangers: MailExchangers) -> Finding {
        let wanted = "10 " + String(decoding: host, as: UTF8.self)
        switch exchangers {
        case .unknown: return Finding(.mx, .unknown, domain, wanted: wanted)
        // Without an MX record mail would go to the domain's own addresses; that is nobody's word that it shall go there.
        case .noSuchDomain, .implicit: return Finding(.mx, .missing, domain, wanted: wanted)
        case .null: return Finding(.mx, .wrong, domain, wanted: wanted, found: Array("0 .".utf8))
        case .hosts(let hosts):
            let best = hosts.map(\.preference).min()
            let isOurs = hosts.contains { $0.preference == best && $0.name == host }
            let found = hosts.sorted { ($0.preference, $0.name.lexicographic) < ($1.preference, $1.name.lexicographic) }
                .map { Array("\($0.preference) ".utf8) + $0.name }.joined(separator: Array(", ".utf8))
            return Finding(.mx, isOurs ? .ok : .wrong, domain, wanted: wanted, found: Array(found))
        }
    }

    /// RFC 7489 6.6.3: one record, whatever it demands.
    static func policy(_ domain: [UInt8], _ questions: Questions) -> Finding {
        let name = Array("_dmarc.".utf8) + domain, wanted = "v=DMARC1; p=quarantine"
        guard name.count <= 253 else { return Finding(.dmarc, .missing, name, wanted: wanted) }
        switch questions.texts(name) {
        case .unknown: return Finding(.dmarc, .unknown, name, wanted: wanted)
        case .none: return Finding(.dmarc, .missing, name, wanted: wanted)
        case .found(let texts):
            let policies = texts.filter { $0.starts(with: Array("v=DMARC1".utf8)) && ($0.count == 8 || [0x3b, 0x20].contains($0[8])) }
            if policies.isEmpty { return Finding(.dmarc, .missing, name, wanted: wanted, found: texts.spoken) }
            return Finding(.dmarc, policies.count == 1 ? .ok : .wrong, name, wanted: wanted, found: policies.spoken)
        }
    }
}

extension [UInt8] {
    var lexicographic: String { String(decoding: self, as: UTF8.self) }

    var lowercased: [UInt8] { map { 0x41...0x5a ~= $0 ? $0 + 32 : $0 } }
}

extension [[UInt8]] {
    /// Several texts in one line.
    var spoken: [UInt8] { [UInt8](joined(separator: [UInt8](" | ".utf8))) }
}
