// What somebody has chosen on the page where a mailbox is made: an address, or why it cannot be had. The same answer while one types and
// when the form is sent; provision, which has the last word, decides once more.
import Mail
import Provisioning

struct AddressChoice: Sendable, Equatable {
    enum Kind: String, Sendable { case subdomain, domain, own }

    /// One of the codes of provision's refusals; Words has a sentence for each.
    struct Fault: Error, Equatable {
        let code: String
        init(_ code: String) { self.code = code }
    }

    let kind: Kind
    /// As typed, but for the spaces around.
    let name: String
    let subdomain: String
    let own: String

    init(_ form: Form, _ offer: PortalSettings.Offer) {
        let fallback: Kind = offer.hasSubdomains ? .subdomain : .own
        kind = Kind(rawValue: form["kind"]) ?? fallback
        name = AddressChoice.trimmed(form["name"])
        subdomain = AddressChoice.trimmed(form["subdomain"])
        own = AddressChoice.trimmed(form["own"])
    }

    private static func trimmed(_ text: String) -> String {
        var text = text[...]
        while text.first?.isWhitespace == true { text.removeFirst() }
        while text.last?.isWhitespace == true { text.removeLast() }
        return String(text)
    }

    /// The address, in small letters, if the rules allow it. Nobody was asked whether it is free.
    func address(_ offer: PortalSettings.Offer) throws(Fault) -> Address {
        // The part before the @ first: its fault is named even where the domain has one too.
        let local = name.lowercased()
        guard !local.contains("@"), (try? Name.mailbox(local + "@example.org")) != nil else { throw Fault("bad-name") }
        if Name.reserved.contains(local) { throw Fault("reserved") }
        do throws(ProvisioningError) {
            let address = try Name.mailbox(local + "@" + domain(offer))
            try offer.policy.require(address)
            return address
        } catch { throw Fault(error.refusal?.rawValue ?? "bad-domain") }
    }

    private func domain(_ offer: PortalSettings.Offer) throws(ProvisioningError) -> String {
        switch kind {
        case .subdomain:
            guard offer.hasSubdomains else { throw ProvisioningError("", .notOffered) }
            // Nothing typed: the same word as in front of the @.
            return try Name.hostname((subdomain.isEmpty ? name : subdomain) + "." + offer.domain)
        case .domain:
            guard offer.isDomainOpen else { throw ProvisioningError("", .notOffered) }
            return offer.domain
        case .own:
            guard offer.areOwnDomainsAllowed else { throw ProvisioningError("", .notOffered) }
            let domain = try Name.hostname(own)
            // What is beneath the system's domain is given out as subdomains, or not at all.
            if offer.hasSubdomains, domain == offer.domain || domain.hasSuffix("." + offer.domain) { throw ProvisioningError("", .domainTaken) }
            return domain
        }
    }

    /// Whether nobody else has it.
    func requireFree(_ address: Address, _ register: Register) throws {
        if register.isTaken(String(decoding: address.key, as: UTF8.self)) { throw Fault("taken") }
        if kind != .domain, try register.isTaken(domain: String(decoding: address.domain, as: UTF8.self)) { throw Fault("domain-taken") }
    }
}
