// How the directory is reached and searched: the values of control files, checked once. They are an admin's, and trusted.

/// A setting that cannot be used, or something that the directory does not do, in words that say what to do.
public struct DirectoryFault: Error, Equatable {
    /// A sentence.
    public let text: String
    /// It is about one entry: the next may fare better.
    public let isOfEntry: Bool

    public init(text: String, isOfEntry: Bool = false) {
        self.text = text
        self.isOfEntry = isOfEntry
    }
}

/// How the directory is reached and searched.
public struct DirectorySettings: Sendable {
    /// `ldapi:///`, `ldaps://ldap.example.org`, `ldap://192.0.2.1:3890`; asked in this order.
    public let servers: [String]
    /// The entry under which users are.
    public let base: String
    let filter: Filter
    /// Who searches; empty: nobody in particular.
    let searcher: String
    let searcherPassword: [UInt8]
    /// On `ldap://`: no password crosses the network in the clear.
    public let startsTLS: Bool
    /// A file of certificates.
    public let authorities: String
    /// The entry whose members are administrators; empty: nobody is.
    public let adminGroup: String

    /// As in the control files ldap-uri, ldap-base, ldap-filter, ldap-bind-dn, ldap-bind-password, ldap-tls, ldap-ca, ldap-admin-group.
    public init(
        servers: String, base: String, filter: String, searcher: String, searcherPassword: [UInt8], tls: String, authorities: String, adminGroup: String
    ) throws(DirectoryFault) {
        self.servers = servers.split(separator: " ").map(String.init)
        guard !self.servers.isEmpty else { throw DirectoryFault(text: "control/ldap-uri names no server") }
        for server in self.servers where !["ldap://", "ldaps://", "ldapi://"].contains(where: server.hasPrefix) {
            throw DirectoryFault(text: "control/ldap-uri: \"\(server)\" does not begin with ldap://, ldaps:// or ldapi://")
        }
        guard !base.isEmpty else { throw DirectoryFault(text: "control/ldap-base is missing: it is the entry under which users are, such as ou=people,dc=example,dc=org") }
        guard let filter = Filter(filter) else {
            throw DirectoryFault(text: "control/ldap-filter: \"\(filter)\" does not compare an attribute with %u, as (uid=%u) does")
        }
        // With a name and no password a server may let anybody in as nobody (RFC 4513 5.1.2).
        if !searcher.isEmpty && searcherPassword.isEmpty { throw DirectoryFault(text: "control/ldap-bind-dn is set and control/ldap-bind-password is missing or empty") }
        guard tls == "none" || tls == "starttls" else { throw DirectoryFault(text: "control/ldap-tls: \"\(tls)\" is neither starttls nor none") }
        self.base = base
        self.filter = filter
        self.searcher = searcher
        self.searcherPassword = searcherPassword
        startsTLS = tls == "starttls"
        self.authorities = authorities
        self.adminGroup = adminGroup
    }
}
