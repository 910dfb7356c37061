// One server of the directory: connecting, and the two operations that are needed, bind and search. Every wait has an end. What comes
// back is bounded by the size limit of the search and by the attributes asked for.
import CLDAP
import Unix

/// Why a server is of no use: the next may be.
struct Unavailable: Error {
    let text: String
}

/// How long a server is waited for.
struct Patience {
    let connectMilliseconds: Int
    let answerMilliseconds: Int
    /// For all of it: a server that lets each answer take its time is no better than one that is dead.
    let limitMilliseconds: Int

    /// The only server that is left.
    static let last = Patience(connectMilliseconds: 3000, answerMilliseconds: 3000, limitMilliseconds: 5000)
    /// There is another. A SYN that was lost is sent again after one second.
    static let first = Patience(connectMilliseconds: 1500, answerMilliseconds: 3000, limitMilliseconds: 5000)
    /// Changes, which an administrator waits for; the limit is for each.
    static let changes = Patience(connectMilliseconds: 5000, answerMilliseconds: 30_000, limitMilliseconds: 30_000)
}

struct DirectoryConnection: ~Copyable {
    private let patience: Patience
    private let server: UnsafeMutablePointer<cldap>
    let address: String

    var handle: OpaquePointer { server.pointee.ld }

    private init(owning server: UnsafeMutablePointer<cldap>, _ address: String, _ patience: Patience) {
        self.server = server
        self.address = address
        self.patience = patience
    }

    deinit { cldap_close(server) }

    /// Connects, with TLS if that is meant.
    static func open(_ address: String, _ settings: DirectorySettings, _ patience: Patience) throws(Unavailable) -> DirectoryConnection {
        let startsTLS = settings.startsTLS && address.hasPrefix("ldap://")
        let isSecure = startsTLS || address.hasPrefix("ldaps://")
        var raw: UnsafeMutablePointer<cldap>?
        let result = cldap_open(address, isSecure ? settings.authorities : nil, Int32(patience.connectMilliseconds), Int32(patience.limitMilliseconds), &raw)
        guard let raw else { throw Unavailable(text: "\(address): \(String(cString: ldap_err2string(result))): it is no address of a directory") }
        let connection = DirectoryConnection(owning: raw, address, patience)
        guard result == LDAP_SUCCESS else {
            if result == LDAP_PARAM_ERROR, isSecure { throw Unavailable(text: "\(settings.authorities) cannot be read, or has no certificates in it") }
            throw raw.pointee.has_connected != 0 && isSecure ? connection.untrusted(settings) : connection.unavailable("connect", result)
        }
        if startsTLS {
            let result = cldap_start_tls(raw)
            guard result == LDAP_SUCCESS else { throw result == LDAP_CONNECT_ERROR ? connection.untrusted(settings) : connection.unavailable("StartTLS", result) }
        }
        return connection
    }

    /// The TLS library does not say which.
    private func untrusted(_ settings: DirectorySettings) -> Unavailable {
        Unavailable(text: "\(address): TLS fails: the certificate is for another name, or not from an authority in \(settings.authorities), or the handshake is broken")
    }

    /// The result code of a simple bind (RFC 4513 5.1.3).
    func bind(_ name: UnsafePointer<CChar>, password: UnsafeMutablePointer<CChar>, count: Int) throws(Unavailable) -> Int32 {
        var credentials = berval(bv_len: ber_len_t(count), bv_val: password)
        var id: Int32 = -1
        let sent = ldap_sasl_bind(handle, name, nil, &credentials, nil, nil, &id)
        guard sent == LDAP_SUCCESS else { throw unavailable("bind", sent) }
        let answer = try wait(id, "bind")
        var code: Int32 = 0
        let parsed = ldap_parse_result(handle, answer, &code, nil, nil, nil, nil, 1)
        guard parsed == LDAP_SUCCESS else { throw unavailable("bind", parsed) }
        return code
    }

    /// As whom the kernel says this process is (RFC 4422, appendix A): on ldapi:// alone.
    func bindAsThisProcess() throws(Unavailable) {
        var id: Int32 = -1
        var byte: CChar = 0
        // Credentials that are there and empty: whom I want to be is who I am (RFC 4422 A.1). Without any the server would ask.
        let sent = withUnsafeMutablePointer(to: &byte) { empty in
            var credentials = berval(bv_len: 0, bv_val: empty)
            return ldap_sasl_bind(handle, "", "EXTERNAL", &credentials, nil, nil, &id)
        }
        guard sent == LDAP_SUCCESS else { throw unavailable("bind", sent) }
        var code: Int32 = 0
        let parsed = ldap_parse_result(handle, try wait(id, "bind"), &code, nil, nil, nil, nil, 1)
        guard parsed == LDAP_SUCCESS else { throw unavailable("bind", parsed) }
        guard code == LDAP_SUCCESS else { throw unavailable("bind (SASL EXTERNAL)", code) }
    }

    func bind(_ name: String, password: [UInt8]) throws(Unavailable) {
        var password = password.map { CChar(bitPattern: $0) }
        let count = password.count
        let code = try bind(name, password: &password, count: count)
        guard code == LDAP_SUCCESS else { throw unavailable("bind as \(name)", code) }
    }

    /// What a search has found: the entries, two at most.
    struct Found: ~Copyable {
        fileprivate let handle: OpaquePointer
        fileprivate let messages: OpaquePointer
        let count: Int

        deinit { ldap_msgfree(messages) }

        /// The values of the first entry's attribute.
        func values(_ attribute: String) -> [[UInt8]] {
            guard let entry = ldap_first_entry(handle, messages), let list = ldap_get_values_len(handle, entry, attribute) else { return [] }
            defer { ldap_value_free_len(list) }
            return (0..<Int(ldap_count_values_len(list))).compactMap { index in
                list[index].map { value in
                    UnsafeRawBufferPointer(start: value.pointee.bv_val, count: Int(value.pointee.bv_len)).map { $0 }
                }
            }
        }

        /// The first entry's name, as the directory spells it.
        func withName<Result>(_ body: (UnsafePointer<CChar>?) throws(Unavailable) -> Result) throws(Unavailable) -> Result {
            let name = ldap_first_entry(handle, messages).flatMap { ldap_get_dn(handle, $0) }
            defer { ldap_memfree(name) }
            return try body(name)
        }
    }

    func search(_ base: String, _ filter: String, _ attributes: [String]) throws(Unavailable) -> Found {
        var names: [UnsafeMutablePointer<CChar>?] = attributes.map { ldap_strdup($0) } + [nil]
        defer { names.forEach { ldap_memfree($0) } }
        var limit = timeval(tv_sec: patience.answerMilliseconds / 1000, tv_usec: 0)
        var id: Int32 = -1
        // Two, to tell one from several.
        let sent = ldap_search_ext(handle, base, LDAP_SCOPE_SUBTREE, filter, &names, 0, nil, nil, &limit, 2, &id)
        guard sent == LDAP_SUCCESS else { throw unavailable("search", sent) }
        let answer = try wait(id, "search")
        let found = Found(handle: handle, messages: answer, count: Int(ldap_count_entries(handle, answer)))
        var code: Int32 = 0
        let parsed = ldap_parse_result(handle, answer, &code, nil, nil, nil, nil, 0)
        guard parsed == LDAP_SUCCESS else { throw unavailable("search", parsed) }
        guard code == LDAP_SUCCESS || code == LDAP_SIZELIMIT_EXCEEDED && found.count > 1 else { throw unavailable("search under \(base)", code) }
        return found
    }

    /// The time for all begins anew.
    func renew() { server.pointee.deadline_milliseconds = Int64(Clock.monotonicMilliseconds() + patience.limitMilliseconds) }

    func wait(_ id: Int32, _ operation: String) throws(Unavailable) -> OpaquePointer {
        let left = min(patience.answerMilliseconds, Int(server.pointee.deadline_milliseconds) - Clock.monotonicMilliseconds())
        guard left > 0 else { throw Unavailable(text: "\(address): \(operation): it takes too long") }
        var limit = timeval(tv_sec: left / 1000, tv_usec: left % 1000 * 1000)
        var answer: OpaquePointer?
        switch ldap_result(handle, id, LDAP_MSG_ALL, &limit, &answer) {
        case 0: throw Unavailable(text: "\(address): \(operation): no answer")
        case -1:
            var code = LDAP_SERVER_DOWN
            ldap_get_option(handle, LDAP_OPT_RESULT_CODE, &code)
            throw unavailable(operation, code)
        default:
            guard let answer else { throw Unavailable(text: "\(address): \(operation): an answer without a message") }
            return answer
        }
    }

    /// A sentence; never with what was asked.
    func unavailable(_ operation: String, _ code: Int32) -> Unavailable {
        var text = "\(address): \(operation): \(String(cString: ldap_err2string(code)))"
        if let diagnosis = cldap_diagnosis(server) {
            text += " (\(String(cString: diagnosis)))"
            ldap_memfree(diagnosis)
        }
        return Unavailable(text: text)
    }
}
