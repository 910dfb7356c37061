// The zone of the system's domain, as the server that has it is told by signed updates (RFC 2136, RFC 8945): what is added for a
// mailbox at a subdomain, and taken away with it. Every change is one update, which the server makes as a whole or not at all, and
// which holds only if the names are free or marked as this owner's: so that it may be repeated after a crash, and so that nothing that
// somebody else put there is touched. nsupdate and dig do the talking.
import Control
import Mail
import Unix

public struct Zone: Sendable {
    /// The zone's name, as a rule the setting `domain`.
    public let name: String
    let records: SubdomainRecords.Host
    let server: ZoneServer

    /// nil: no records are made here (the setting `dns-server` or `domain` is empty). `zone`: the one in which records were made, should the
    /// setting be another by now.
    public static func open(_ home: Home, zone: String? = nil) throws -> Zone? {
        let control = try Control(home.control)
        let place = try control.text(.dnsServer), domain = try zone ?? control.text(.domain)
        guard !place.isEmpty, !domain.isEmpty else { return nil }
        let name = try Name.hostname(domain)
        let portal = Zone.host(ofURL: try control.text(.portalURL))
        let host = SubdomainRecords.Host(
            zone: name, hostname: try Name.hostname(control.text(.hostname)), portal: portal.flatMap { try? Name.hostname($0) }, hasIMAP: try control.isOn(.imap))
        return Zone(name: name, records: host, server: try ZoneServer(place, zone: name, key: home.zoneKey))
    }

    /// Makes what mail for the address needs, `dkim` being its domain's keys. At a subdomain that is everything; right at the domain
    /// it is the keys, if they are not there yet: all else is the domain's own, and the keys stay when the mailbox goes.
    public func add(_ address: Address, owner: String, dkim: [(name: String, text: String)]) throws {
        let owner = try Name.owner(owner)
        guard let subdomain = try subdomain(address.domainText) else { return try addKeys(dkim) }
        let made = try SubdomainRecords(subdomain, owner: owner, keys: dkim, at: records)
        if try server.update(made.whereFree) == .made { return }
        // Somebody's it is: this owner's, if an earlier try came as far as this.
        let before = try marked(subdomain)
        guard before.owner == made.mark, try server.update(made.whereOurs(insteadOf: before.keys)) == .made else { throw taken(subdomain, owner) }
    }

    /// Throws if the owner cannot have the name: something else is there, or beneath it.
    public func require(_ address: Address, owner: String) throws {
        let owner = try Name.owner(owner)
        guard let subdomain = try subdomain(address.domainText), try !isFree(subdomain) else { return }
        if try marked(subdomain).owner != SubdomainRecords(subdomain, owner: owner, keys: [], at: records).mark { throw taken(subdomain, owner) }
    }

    private func taken(_ subdomain: String, _ owner: String) -> ProvisioningError {
        ProvisioningError("\(subdomain) is in the zone \(name) already, and not as a mailbox of \(owner): choose another name", .domainTaken)
    }

    /// Takes away what `add` made at a subdomain, and nothing else. That there is nothing to take away is well.
    public func remove(_ address: Address, owner: String) throws {
        guard let subdomain = try subdomain(address.domainText) else { return }
        let made = try SubdomainRecords(subdomain, owner: try Name.owner(owner), keys: [], at: records)
        // Somebody may be at it in the same moment: then what is there has to be read again.
        for _ in 0..<3 {
            let before = try marked(subdomain)
            guard before.owner == made.mark else { return }
            if try server.update(made.removal(of: before.keys)) == .made { return }
        }
        throw ProvisioningError("the records of \(subdomain) change while they are being removed: try again")
    }

    /// Whether a subdomain can be given: nothing has that name, and nothing is beneath it. `name` is the whole name or its first label.
    public func isFree(_ name: String) throws -> Bool {
        guard let subdomain = try subdomain(name.contains(".") ? name : "\(name).\(self.name)") else { return false }
        guard try server.update(SubdomainRecords.question(subdomain)) == .made else { return false }
        // What is beneath a name shows only when one asks for it: then the name is known, though it has no records. Under a wildcard
        // every name is known, and one that nobody can have tells that there is one.
        guard try server.isKnown(subdomain) else { return true }
        return try server.isKnown("\(String(Random.bits(), radix: 36))-\(String(Random.bits(), radix: 36)).\(self.name)")
    }

    /// Who is marked as having the subdomain, and which keys were made for it.
    private func marked(_ subdomain: String) throws -> (owner: String?, keys: [String]) {
        let owners = try server.texts(SubdomainRecords.ownerMark(subdomain))
        return (owners.count == 1 ? owners[0] : nil, try server.texts(SubdomainRecords.keyMark(subdomain)))
    }

    /// Keys of the domain itself: each once, whoever makes it.
    private func addKeys(_ keys: [(name: String, text: String)]) throws {
        for (key, text) in keys { _ = try server.update(SubdomainRecords.key(key, text, in: name)) }
    }

    /// nil: the domain itself.
    private func subdomain(_ domain: String) throws -> String? {
        if domain == name { return nil }
        // One label: what is further down is beneath somebody's subdomain.
        guard domain.hasSuffix("." + name), !domain.dropLast(name.utf8.count + 1).contains(".") else {
            throw ProvisioningError("\(domain) is no subdomain of \(name): its records are not ours to make")
        }
        return try Name.hostname(domain)
    }

    /// `https://mail.example.org:8443/x` is at mail.example.org.
    static func host(ofURL url: String) -> String? {
        guard let start = url.firstRange(of: "://") else { return nil }
        let host = url[start.upperBound...].prefix { !"/:?#".contains($0) }
        return host.isEmpty ? nil : String(host)
    }
}

extension Home {
    /// The key that signs changes to the zone; root's alone.
    var zoneKey: String { control + "/dns-key" }
}
