// The server of a zone, spoken to by BIND's nsupdate and dig, which sign with the key in control/dns-key. What it says is read off
// their output; what went wrong becomes a sentence that says what to do. All of it is worth another try, once that is done.
import Unix

struct ZoneServer: Sendable {
    /// What came of an update.
    enum Outcome: Equatable {
        case made
        /// What it was to hold for does not hold: a name is in use that should be free, or a mark is missing.
        case unfulfilled
    }

    /// A server that is away is known at once, or after three tries of a second; one that is merely slow has ten seconds.
    private static let timing = ["-t", "10", "-u", "1", "-r", "2"]
    private static let limitSeconds = 15

    private let address: String
    private let port: UInt16
    private let zone: String
    private let key: String

    /// `place`: `192.0.2.1`, `192.0.2.1:5353`, `[2001:db8::1]:53`, or a name.
    init(_ place: String, zone: String, key: String) throws(ProvisioningError) {
        guard let (address, port) = ZoneServer.split(place) else {
            throw ProvisioningError("the setting dns-server is \"\(place)\": an address is wanted, and its port if it is not 53, such as 192.0.2.1:53")
        }
        (self.address, self.port, self.zone, self.key) = (address, port, zone, key)
    }

    static func split(_ place: String) -> (address: String, port: UInt16)? {
        if NetworkAddress(text: place) != nil { return (place, 53) }
        guard let colon = place.lastIndex(of: ":") else { return (try? Name.hostname(place)).map { ($0, 53) } }
        guard let port = UInt16(place[place.index(after: colon)...]), port > 0 else { return nil }
        var host = String(place[..<colon])
        if host.hasPrefix("["), host.hasSuffix("]") {
            host = String(host.dropFirst().dropLast())
            return NetworkAddress(text: host)?.isIPv6 == true ? (host, port) : nil
        }
        if NetworkAddress(text: host)?.isIPv6 == false { return (host, port) }
        return (try? Name.hostname(host)).map { ($0, port) }
    }

    private var label: String { port == 53 ? address : "\(address) port \(port)" }

    // MARK: Changes

    func update(_ lines: [String]) throws -> Outcome {
        // A line more would be an order more.
        guard lines.allSatisfy({ $0.utf8.allSatisfy { 0x20...0x7e ~= $0 } }) else { throw ProvisioningError("a record for \(zone) has characters that none can have") }
        let input = ["server \(address) \(port)", "zone \(zone)"] + lines + ["send"]
        let result = try Tool("nsupdate").run(try options(ZoneServer.timing), input: Array((input.joined(separator: "\n") + "\n").utf8), limitSeconds: ZoneServer.limitSeconds)
        if result.isDone { return .made }
        let said = result.errors + "\n" + result.output
        for code in ["YXDOMAIN", "YXRRSET", "NXRRSET", "NXDOMAIN"] where said.contains("update failed: \(code)") { return .unfulfilled }
        throw ProvisioningError(try explain(said, lines) ?? "the name server \(label) did not take a change of \(zone): \(result.lastWords)")
    }

    private func options(_ more: [String]) throws -> [String] {
        guard try Entry(key) != nil else {
            throw ProvisioningError("\(key) is missing, the key that signs changes of \(zone): put there what tsig-keygen prints, as the name server \(label) has it")
        }
        return ["-k", key] + more
    }

    /// nil: there is no sentence for it.
    private func explain(_ said: String, _ lines: [String]) throws -> String? {
        if let sentence = silence(said) { return sentence }
        if said.contains("BADTIME") {
            return "the name server \(label) does not take a change of \(zone), for its clock and ours differ by more than five minutes: set them right"
        }
        if said.contains("BADKEY") || said.contains("BADSIG") {
            return "the name server \(label) does not know the key in \(key), or has another of that name: both must have the same, as tsig-keygen printed it"
        }
        if ["could not read key", "key must have", "read key from", "keyfile"].contains(where: said.contains) {
            return "\(key) holds no key for signing changes of \(zone): put there what tsig-keygen prints, as the name server \(label) has it"
        }
        if said.contains("NOTAUTH") || said.contains("NOTZONE") {
            return "the name server \(label) does not serve the zone \(zone): see its configuration, and the settings domain and dns-server"
        }
        if said.contains("REFUSED") { return try explainRefusal(lines) }
        if said.contains("SERVFAIL") {
            return "the name server \(label) failed to change \(zone): its log tells why; it must be able to write the zone's file and the journal beside it"
        }
        return nil
    }

    /// Nobody answers.
    private func silence(_ said: String) -> String? {
        let silences = ["; Communication with ", "no servers could be reached", "couldn't get address", "timed out", "connection refused", "unreachable"]
        guard silences.contains(where: said.contains) else { return nil }
        return "the name server \(label) does not answer: see whether it runs, and the setting dns-server"
    }

    /// BIND refuses what the key may not do, and an MX whose host, if it is in the zone, has no address.
    private func explainRefusal(_ lines: [String]) throws -> String {
        let exchangers = lines.compactMap { line in line.firstRange(of: " MX 10 ").map { String(line[$0.upperBound...].dropLast()) } }
        for host in exchangers where host.hasSuffix("." + zone) || host == zone {
            if try query(host, "A").answers.isEmpty, try query(host, "AAAA").answers.isEmpty {
                return "\(host), to which the MX record would lead, has no address in the zone \(zone): add an A or AAAA record for it, or correct the setting hostname"
            }
        }
        return "the name server \(label) does not let the key in \(key) change \(zone): allow it MX, TXT, SRV and CNAME beneath the domain (update-policy)"
    }

    // MARK: Questions

    /// The texts of a name's TXT records.
    func texts(_ name: String) throws -> [String] {
        try query(name, "TXT").answers.compactMap { line in
            let fields = line.split(separator: " ", maxSplits: 4, omittingEmptySubsequences: true)
            return fields.count == 5 && fields[3] == "TXT" ? TextData.read(fields[4]) : nil
        }
    }

    /// Whether the name has records, or names beneath it.
    func isKnown(_ name: String) throws -> Bool { try query(name, "TXT").isKnown }

    private func query(_ name: String, _ type: String) throws -> (isKnown: Bool, answers: [String]) {
        let question = ["@\(address)", "-p", "\(port)", "+noall", "+comments", "+answer", "+norecurse", "+time=1", "+tries=3", "+nocookie", "-q", "\(name).", "-t", type]
        let result = try Tool("dig").run(try options(question), limitSeconds: ZoneServer.limitSeconds)
        let lines = result.output.split(whereSeparator: \.isNewline).map { String($0.map { $0 == "\t" ? " " : $0 }) }
        let header = lines.first { $0.hasPrefix(";; ->>HEADER<<-") } ?? ""
        let status = header.firstRange(of: "status: ").map { place in String(header[place.upperBound...].prefix { $0 != "," }) }
        switch status {
        case "NOERROR": return (true, lines.filter { !$0.hasPrefix(";") })
        case "NXDOMAIN": return (false, [])
        case let status?: throw ProvisioningError(try explain(result.output + result.errors, []) ?? "the name server \(label) does not tell what is in \(zone): \(status)")
        case nil: throw ProvisioningError(silence(result.output + result.errors) ?? "the name server \(label) does not tell what is in \(zone): \(result.lastWords)")
        }
    }
}
