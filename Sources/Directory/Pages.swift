// Searches that may find much: a page at a time (RFC 2696), and entries taken apart. A server that has no pages gives all at once.
import CLDAP

extension DirectoryConnection {
    private static let pageSize = 500

    struct Page {
        var entries: [DirectoryEntry] = []
        /// Where the next page begins; empty: there is none.
        var cookie: [UInt8] = []
    }

    func page(_ base: String, _ filter: String, _ attributes: [String], after cookie: [UInt8]) throws(Unavailable) -> Page {
        var cookie = cookie
        var control: UnsafeMutablePointer<LDAPControl>?
        let made = cookie.withUnsafeMutableBytes { bytes in
            var place = berval(bv_len: ber_len_t(bytes.count), bv_val: bytes.count == 0 ? nil : bytes.baseAddress?.assumingMemoryBound(to: CChar.self))
            return ldap_create_page_control(handle, ber_int_t(DirectoryConnection.pageSize), &place, 0, &control)
        }
        guard made == LDAP_SUCCESS, let control else { throw unavailable("search", made) }
        defer { ldap_control_free(control) }
        let answer = try searched(base, LDAP_SCOPE_SUBTREE, filter, attributes, [control, nil])
        defer { ldap_msgfree(answer) }

        var code: Int32 = 0
        var controls: UnsafeMutablePointer<UnsafeMutablePointer<LDAPControl>?>?
        let parsed = ldap_parse_result(handle, answer, &code, nil, nil, nil, &controls, 0)
        defer { ldap_controls_free(controls) }
        guard parsed == LDAP_SUCCESS else { throw unavailable("search", parsed) }
        guard code == LDAP_SUCCESS else { throw unavailable("search under \(base)", code) }
        var page = Page(entries: entries(answer))
        if let response = ldap_control_find(LDAP_CONTROL_PAGEDRESULTS, controls, nil) {
            var count: ber_int_t = 0
            var next = berval()
            let read = ldap_parse_pageresponse_control(handle, response, &count, &next)
            defer { ldap_memfree(next.bv_val) }
            guard read == LDAP_SUCCESS else { throw unavailable("search", read) }
            page.cookie = UnsafeRawBufferPointer(start: next.bv_val, count: Int(next.bv_len)).map { $0 }
        }
        return page
    }

    /// Whether the entry of that name is one of those the filter means. One that is not there is none.
    func matches(_ name: String, _ filter: String) throws(Unavailable) -> Bool {
        let answer = try searched(name, LDAP_SCOPE_BASE, filter, ["1.1"], [nil])
        defer { ldap_msgfree(answer) }
        var code: Int32 = 0
        let parsed = ldap_parse_result(handle, answer, &code, nil, nil, nil, nil, 0)
        guard parsed == LDAP_SUCCESS else { throw unavailable("search", parsed) }
        guard code == LDAP_SUCCESS || code == LDAP_NO_SUCH_OBJECT else { throw unavailable("look at \(name)", code) }
        return ldap_count_entries(handle, answer) == 1
    }

    /// One entry by its name; nil: there is none, or it is not to be seen.
    func entry(_ name: String, _ attributes: [String]) throws(Unavailable) -> DirectoryEntry? {
        let answer = try searched(name, LDAP_SCOPE_BASE, "(objectClass=*)", attributes, [nil])
        defer { ldap_msgfree(answer) }
        var code: Int32 = 0
        let parsed = ldap_parse_result(handle, answer, &code, nil, nil, nil, nil, 0)
        guard parsed == LDAP_SUCCESS else { throw unavailable("search", parsed) }
        if code == LDAP_NO_SUCH_OBJECT { return nil }
        guard code == LDAP_SUCCESS else { throw unavailable("look at \(name)", code) }
        return entries(answer).first
    }

    /// The result code of an operation that finds nothing.
    func code(_ id: Int32, _ operation: String) throws(Unavailable) -> Int32 {
        var code: Int32 = 0
        let parsed = ldap_parse_result(handle, try wait(id, operation), &code, nil, nil, nil, nil, 1)
        guard parsed == LDAP_SUCCESS else { throw unavailable(operation, parsed) }
        return code
    }

    private func searched(
        _ base: String, _ scope: ber_int_t, _ filter: String, _ attributes: [String], _ controls: [UnsafeMutablePointer<LDAPControl>?]
    ) throws(Unavailable) -> OpaquePointer {
        var names: [UnsafeMutablePointer<CChar>?] = attributes.map { ldap_strdup($0) } + [nil]
        defer { names.forEach { ldap_memfree($0) } }
        var controls = controls
        var id: Int32 = -1
        let sent = ldap_search_ext(handle, base, scope, filter, &names, 0, &controls, nil, nil, 0, &id)
        guard sent == LDAP_SUCCESS else { throw unavailable("search", sent) }
        return try wait(id, "search")
    }

    private func entries(_ answer: OpaquePointer) -> [DirectoryEntry] {
        var found: [DirectoryEntry] = []
        var next = ldap_first_entry(handle, answer)
        while let message = next {
            next = ldap_next_entry(handle, message)
            guard let name = ldap_get_dn(handle, message) else { continue }
            var entry = DirectoryEntry(name: String(cString: name))
            ldap_memfree(name)
            var place: OpaquePointer?
            var attribute = ldap_first_attribute(handle, message, &place)
            while let one = attribute {
                entry.set(String(cString: one), values(message, one))
                ldap_memfree(one)
                attribute = ldap_next_attribute(handle, message, place)
            }
            ber_free(place, 0)
            found.append(entry)
        }
        return found
    }

    private func values(_ message: OpaquePointer, _ attribute: UnsafePointer<CChar>) -> [[UInt8]] {
        guard let list = ldap_get_values_len(handle, message, attribute) else { return [] }
        defer { ldap_value_free_len(list) }
        return (0..<Int(ldap_count_values_len(list))).compactMap { index in
            list[index].map { value in UnsafeRawBufferPointer(start: value.pointee.bv_val, count: Int(value.pointee.bv_len)).map { $0 } }
        }
    }
}
