// Which addresses people may choose. Three kinds of domain: beneath the system's own, that one itself, and a person's own.
import Control
import Mail
import Unix

public enum DomainKind: Equatable, Sendable {
    /// A subdomain that is free for whoever comes first.
    case free
    /// The system's domain itself.
    case system
    /// A domain that the person brings along; its MX has to point here first.
    case own
}

public struct AddressPolicy: Sendable {
    /// The system's domain; empty: there is none.
    public let domain: String
    public let isDomainOpen: Bool
    public let allowsOwn: Bool
    let hostname: String
    private let reserved: Set<String>

    /// Subdomains that hosts have, and names that look as if they spoke for the system.
    private static let hosts: Set<String> = [
        "autoconfig", "autodiscover", "dns", "ftp", "imap", "ldap", "localhost", "mail", "mta-sts", "mx", "ns", "ns1", "ns2", "ns3", "pop", "pop3", "portal", "relay", "smtp", "ssh",
        "webmail", "wpad", "www",
    ]

    public init(_ control: borrowing Control) throws(ControlError) {
        domain = try control.text(.domain).lowercased()
        isDomainOpen = try control.isOn(.domainOpen)
        allowsOwn = try control.isOn(.ownDomains)
        hostname = try control.text(.hostname).lowercased()
        reserved = Set(try control.lines(.reservedNames).map { $0.lowercased() })
    }

    public func kind(of address: Address) -> DomainKind {
        let name = address.domainText
        if domain.isEmpty { return .own }
        return name == domain ? .system : name.hasSuffix("." + domain) ? .free : .own
    }

    /// Whether a person may have the address, taken or not.
    public func require(_ address: Address) throws(ProvisioningError) {
        let name = address.domainText, local = String(decoding: address.localPart, as: UTF8.self)
        if reserved.contains(local) { throw ProvisioningError("\(local) is reserved: choose another name", .reserved) }
        switch kind(of: address) {
        case .system:
            guard isDomainOpen else { throw ProvisioningError("addresses right at \(domain) are not given: choose a subdomain of it", .notOffered) }
        case .free:
            let label = String(name.dropLast(domain.utf8.count + 1))
            guard !label.contains(".") else { throw ProvisioningError("\(name) is more than one step beneath \(domain)", .badDomain) }
            guard label.utf8.count <= 40 else { throw ProvisioningError("\(label) is too long for a subdomain: 40 letters at most", .badDomain) }
            guard !AddressPolicy.hosts.contains(label), !Name.reserved.contains(label), !reserved.contains(label), name != hostname else {
                throw ProvisioningError("\(name) is reserved: choose another subdomain", .reserved)
            }
        case .own:
            guard allowsOwn else { throw ProvisioningError("\(name): domains of one's own are not offered here", .notOffered) }
            guard name != hostname, name.contains(".") else { throw ProvisioningError("\(name) can be no person's domain", .badDomain) }
        }
    }
}
