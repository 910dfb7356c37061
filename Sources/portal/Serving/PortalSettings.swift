// The settings that pages are made of, read whenever a page is made: what the administrator changes is so with the next click.
import Control
import Provisioning

struct PortalSettings: Sendable {
    private let home: Home

    init(_ home: Home) { self.home = home }

    func text(_ setting: Setting) throws -> String { try Control(home.control).text(setting) }

    var hostname: String { get throws { try text(.hostname) } }

    /// Which kinds of domain people may choose from; provision goes by the same rules.
    struct Offer: Sendable {
        let policy: AddressPolicy

        /// The system's domain; empty: none.
        var domain: String { policy.domain }
        var hasSubdomains: Bool { !domain.isEmpty }
        var isDomainOpen: Bool { hasSubdomains && policy.isDomainOpen }
        var areOwnDomainsAllowed: Bool { policy.allowsOwn }
        var isEmpty: Bool { !hasSubdomains && !areOwnDomainsAllowed }
    }

    func offer() throws -> Offer { Offer(policy: try AddressPolicy(Control(home.control))) }

    /// Whether cookies go over TLS alone. Browsers count this machine itself as safe; only who says that the portal is found at a
    /// http:// URL of a network gets cookies that any network sees.
    func isSecure() throws -> Bool {
        let url = try text(.portalURL).lowercased()
        guard url.hasPrefix("http://") else { return true }
        let authority = url.dropFirst("http://".count).prefix { $0 != "/" }
        let host = authority.hasPrefix("[") ? authority.prefix { $0 != "]" } + "]" : authority.prefix { $0 != ":" }
        return host == "localhost" || host == "[::1]" || host.hasPrefix("127.") || host.hasSuffix(".localhost")
    }
}
