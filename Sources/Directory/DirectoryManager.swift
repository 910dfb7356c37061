// Somebody who may change the directory: adds, changes and removes entries, one at a time, over one connection. What is written are
// values and never syntax; names of entries come from the directory, or are made of a uid that has no sign in it a name would escape.
import CLDAP

/// An entry as a search found it.
public struct DirectoryEntry: Sendable {
    public let name: String
    /// By the attribute's name in small letters.
    private var attributes: [String: [[UInt8]]] = [:]

    init(name: String) { self.name = name }

    mutating func set(_ attribute: String, _ values: [[UInt8]]) { attributes[attribute.lowercased()] = values }

    public func values(_ attribute: String) -> [[UInt8]] { attributes[attribute.lowercased()] ?? [] }

    /// The first value.
    public func text(_ attribute: String) -> String? { values(attribute).first.map { String(decoding: $0, as: UTF8.self) } }
}

/// What becomes of the values of one attribute.
public struct DirectoryChange: Sendable {
    let attribute: String
    let values: [[UInt8]]
    let operation: Int32

    init(_ attribute: String, _ values: [[UInt8]], _ operation: Int32) {
        self.attribute = attribute
        self.values = values
        self.operation = operation
    }

    /// These values and no others.
    public static func set(_ attribute: String, _ values: [[UInt8]]) -> DirectoryChange { DirectoryChange(attribute, values, LDAP_MOD_REPLACE) }
    /// One value more.
    public static func insert(_ attribute: String, _ value: [UInt8]) -> DirectoryChange { DirectoryChange(attribute, [value], LDAP_MOD_ADD) }
    /// One value less.
    public static func take(_ attribute: String, _ value: [UInt8]) -> DirectoryChange { DirectoryChange(attribute, [value], LDAP_MOD_DELETE) }
}

public struct DirectoryManager: ~Copyable {
    private let connection: DirectoryConnection
    public let settings: DirectorySettings
    /// The server that is spoken to.
    public var server: String { connection.address }

    /// Connects to the first server that answers. `manager` empty: as whom the kernel says this process is, over ldapi://.
    public init(_ settings: DirectorySettings, manager: String, password: [UInt8]) throws(DirectoryFault) {
        self.settings = settings
        connection = try DirectoryManager.connect(settings, manager, password)
    }

    private static func connect(_ settings: DirectorySettings, _ manager: String, _ password: [UInt8]) throws(DirectoryFault) -> DirectoryConnection {
        // A bind with a name and no password succeeds, as nobody (RFC 4513 5.1.2).
        if !manager.isEmpty && password.isEmpty { throw DirectoryFault(text: "control/ldap-manager-dn is set and control/ldap-manager-password is missing or empty") }
        var reason = ""
        for server in settings.servers {
            if manager.isEmpty, !server.hasPrefix("ldapi://") {
                throw DirectoryFault(
                    text: "\(server) cannot know who I am: semail config ldap-manager-dn DN names the entry that may write, and the file control/ldap-manager-password has its password")
            }
            do throws(Unavailable) {
                let connection = try DirectoryConnection.open(server, settings, .changes)
                connection.renew()
                if manager.isEmpty { try connection.bindAsThisProcess() } else { try connection.bind(manager, password: password) }
                return connection
            } catch { reason = error.text }
        }
        throw DirectoryFault(text: reason)
    }

    /// Everything beneath `base` that has `attribute` (with one value, if there is one), in the directory's order. In pages, for servers
    /// that give only so much at once.
    public func search(
        _ base: String, having attribute: String, _ value: [UInt8]? = nil, reading attributes: [String], _ body: (DirectoryEntry) throws(DirectoryFault) -> Void
    ) throws(DirectoryFault) {
        let filter = "(\(attribute)=\(value.map(Filter.escaped) ?? "*"))"
        do throws(Unavailable) {
            var cookie: [UInt8] = []
            repeat {
                connection.renew()
                let page = try connection.page(base, filter, attributes, after: cookie)
                for entry in page.entries {
                    do throws(DirectoryFault) { try body(entry) } catch { throw Unavailable(text: error.text) }
                }
                cookie = page.cookie
            } while !cookie.isEmpty
        } catch { throw DirectoryFault(text: error.text) }
    }

    public func entries(_ base: String, having attribute: String, _ value: [UInt8]? = nil, reading attributes: [String]) throws(DirectoryFault) -> [DirectoryEntry] {
        var found: [DirectoryEntry] = []
        try search(base, having: attribute, value, reading: attributes) { (entry) throws(DirectoryFault) in found.append(entry) }
        return found
    }

    /// One entry by its name; nil: there is none.
    public func entry(_ name: String, _ attributes: [String]) throws(DirectoryFault) -> DirectoryEntry? {
        connection.renew()
        do throws(Unavailable) { return try connection.entry(name, attributes) } catch { throw DirectoryFault(text: error.text) }
    }

    public func add(_ name: String, _ attributes: [(String, [[UInt8]])]) throws(DirectoryFault) {
        var changes = cldap_changes()
        defer { cldap_changes_free(&changes) }
        for (attribute, values) in attributes { try gather(DirectoryChange(attribute, values, LDAP_MOD_ADD), &changes) }
        try perform("add \(name)") { id in ldap_add_ext(connection.handle, name, changes.list, nil, nil, &id) }
    }

    /// All of it or nothing.
    public func change(_ name: String, _ wanted: [DirectoryChange]) throws(DirectoryFault) {
        var changes = cldap_changes()
        defer { cldap_changes_free(&changes) }
        for change in wanted { try gather(change, &changes) }
        try perform("change \(name)") { id in ldap_modify_ext(connection.handle, name, changes.list, nil, nil, &id) }
    }

    public func remove(_ name: String) throws(DirectoryFault) {
        try perform("remove \(name)") { id in ldap_delete_ext(connection.handle, name, nil, nil, &id) }
    }

    /// By the Password Modify operation (RFC 3062): the server hashes it, in the way its own administrator has chosen.
    public func setPassword(of name: String, to password: borrowing Secret) throws(DirectoryFault) {
        // Both are C strings to some servers.
        guard password.count > 0, password.isPlain else { throw DirectoryFault(text: "an empty password, or one with a NUL in it, is none", isOfEntry: true) }
        let count = password.count
        try password.withBytes { bytes throws(DirectoryFault) in
            guard let copy = ldap_strdup(name) else { throw DirectoryFault(text: "no memory") }
            defer { ldap_memfree(copy) }
            var user = berval(bv_len: ber_len_t(name.utf8.count), bv_val: copy)
            var new = berval(bv_len: ber_len_t(count), bv_val: bytes)
            try perform("set the password of \(name)") { id in ldap_passwd(connection.handle, &user, nil, &new, nil, nil, &id) }
        }
    }

    private func gather(_ change: DirectoryChange, _ changes: inout cldap_changes) throws(DirectoryFault) {
        if change.values.isEmpty, cldap_change(&changes, change.operation, change.attribute, nil, 0) < 0 { throw DirectoryFault(text: "no memory") }
        for value in change.values {
            // An empty array may have no address, and no address means no value.
            let result = (value.isEmpty ? [0] : value).withUnsafeBytes { cldap_change(&changes, change.operation, change.attribute, $0.baseAddress, value.count) }
            if result < 0 { throw DirectoryFault(text: "no memory") }
        }
    }

    private func perform(_ operation: String, _ send: (inout Int32) -> Int32) throws(DirectoryFault) {
        connection.renew()
        var code: Int32 = 0
        do throws(Unavailable) {
            var id: Int32 = -1
            let sent = send(&id)
            guard sent == LDAP_SUCCESS else { throw connection.unavailable(operation, sent) }
            code = try connection.code(id, operation)
        } catch { throw DirectoryFault(text: error.text) }
        if code != LDAP_SUCCESS { throw refusal(operation, code) }
    }

    /// Whether it is the entry that is refused, or whoever asks.
    private func refusal(_ operation: String, _ code: Int32) -> DirectoryFault {
        let text = connection.unavailable(operation, code).text
        switch code {
        case LDAP_REFERRAL: return DirectoryFault(text: text + ": this server takes no changes; name one that does first in ldap-uri")
        case LDAP_INSUFFICIENT_ACCESS, LDAP_STRONG_AUTH_REQUIRED:
            return DirectoryFault(text: text + ": the directory does not let me write; ldap-manager-dn names the entry that may (semail-control(5))")
        case LDAP_CONFIDENTIALITY_REQUIRED, LDAP_UNAVAILABLE, LDAP_BUSY, LDAP_OPERATIONS_ERROR, LDAP_SERVER_DOWN: return DirectoryFault(text: text)
        default: return DirectoryFault(text: text, isOfEntry: true)
        }
    }
}
