// Where mail shall go, as qrunner or the admin says, and which hosts that means. Names come from the DNS, where strangers write them.
import DNS
import Mail
import Unix

/// How much TLS there must be (RFC 7435 is the default's reason).
enum Level: String {
    /// If the peer offers it; nobody is asked who it is. Better than nothing, and no worse if it fails.
    case opportunistic
    /// No mail without it.
    case encrypt
    /// No mail without it, and the certificate must be the host's.
    case verify
    /// As `verify`, from the first octet on (RFC 8314).
    case implicit
    case none

    var demandsTLS: Bool { self != .opportunistic && self != .none }
    var isVerified: Bool { self == .verify || self == .implicit }
}

struct Destination {
    /// A domain, a host, or an address in brackets.
    let name: [UInt8]
    let port: UInt16
    let level: Level
    /// `name` is the host itself: its MX records do not matter.
    let isHost: Bool
    let wantsAuthentication: Bool
    /// The admin has named MX for a domain of our own: another server of this host takes its mail, and sends none of it to us again.
    var mayBeOurselves = false

    /// One machine that may take the mail.
    struct Host: Equatable {
        let name: [UInt8]
        let preference: Int
        /// Known without asking: an address literal.
        var address: NetworkAddress?
    }

    /// A destination that cannot be reached, for whatever message.
    struct Trouble: Error {
        let outcome: Outcome

        init(_ kind: Outcome.Kind, _ status: String, _ text: String) { outcome = Outcome(kind, status, text) }
        init(_ reply: Reply, _ kind: Outcome.Kind, host: [UInt8]) { outcome = Outcome(kind, reply, host: host) }
    }

    /// The address in `[192.0.2.1]` or `[IPv6:2001:db8::1]`; nil: it is a name.
    private var literal: NetworkAddress? {
        guard name.first == 0x5b, name.last == 0x5d else { return nil }
        var inner = name.dropFirst().dropLast()
        if inner.prefix(5).map(\.lowercased) == Array("ipv6:".utf8) { inner = inner.dropFirst(5) }
        return NetworkAddress(text: String(decoding: inner, as: UTF8.self))
    }

    private var text: String { String(decoding: name, as: UTF8.self) }

    /// The hosts to try, best first; those of equal preference in no order (RFC 5321 5.1). `hostname`: our own.
    func hosts(_ names: Names, hostname: [UInt8]) throws(Trouble) -> [Host] {
        if name.first == 0x5b {
            guard let literal else { throw Trouble(.destinationNever, "5.1.2", "\(text) is no address that I can reach") }
            return [Host(name: name, preference: 0, address: literal)]
        }
        if isHost { return [Host(name: name, preference: 0)] }
        switch names.mailExchangers(of: name) {
        case .noSuchDomain: throw Trouble(.destinationNever, "5.1.2", "there is no domain \(text)")
        case .null: throw Trouble(.destinationNever, "5.1.10", "the domain \(text) takes no mail (null MX)")
        case .unknown: throw Trouble(.destinationLater, "4.4.3", "no name server could say where mail for \(text) goes")
        case .implicit: return try others([Host(name: name, preference: 0)], hostname)
        case .hosts(let found):
            let hosts = found.shuffled().map { Host(name: $0.name, preference: Int($0.preference)) }
            return try others(hosts.sorted { $0.preference < $1.preference }, hostname)
        }
    }

    /// Without ourselves, and without those that are no better: they would only send the mail to us (RFC 5321 5.1).
    private func others(_ hosts: [Host], _ hostname: [UInt8]) throws(Trouble) -> [Host] {
        if mayBeOurselves { return hosts }
        let own = hostname.map(\.lowercased)
        guard let ours = hosts.first(where: { $0.name.map(\.lowercased) == own }) else { return hosts }
        let others = hosts.filter { $0.preference < ours.preference }
        if others.isEmpty { throw Destination.loop }
        return others
    }

    static var loop: Trouble { Trouble(.destinationNever, "5.4.6", "the mail exchanger of the domain is this host, which has no mailboxes for it") }
}

extension Destination.Host {
    /// What its certificate must be for.
    var certificateName: [UInt8] { address.map { Array($0.text.utf8) } ?? DomainName.ascii(name) ?? name }

    /// The host's addresses, the families taking turns, IPv6 first (RFC 8305 4).
    func addresses(_ names: Names) throws(Destination.Trouble) -> [NetworkAddress] {
        if let address { return [address] }
        let text = String(decoding: name, as: UTF8.self)
        var families: [[NetworkAddress]] = []
        var isUnknown = false
        for family in [AddressFamily.ipv6, .ipv4] {
            switch names.addresses(of: name, family) {
            case .found(let found): families.append(found)
            case .none: break
            case .unknown: isUnknown = true
            }
        }
        if families.isEmpty, isUnknown { throw Destination.Trouble(.destinationLater, "4.4.3", "no name server could say which address \(text) has") }
        if families.isEmpty { throw Destination.Trouble(.destinationNever, "5.4.4", "the host \(text) has no address") }
        let most = families.map(\.count).max()!
        return (0..<most).flatMap { place in families.compactMap { place < $0.count ? $0[place] : nil } }
    }
}
