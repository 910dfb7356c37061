// One person as an admin or a file describes them, checked before the directory hears of it. Pure.
import Mail
import Provisioning

struct Person {
    enum Password: Equatable {
        case plain([UInt8])
        /// As another directory has hashed it: `{SSHA}...`.
        case hashed(String)
    }

    let uid: String
    /// Names of attributes as in `known`, each once.
    let attributes: [(name: String, values: [String])]
    var password: Password?

    /// What a person may have here besides uid and password; all of inetOrgPerson and what it is made of (RFC 2798, RFC 4519).
    static let known = [
        "givenName", "sn", "cn", "displayName", "initials", "mail", "telephoneNumber", "mobile", "title", "o", "ou", "employeeNumber", "employeeType",
        "departmentNumber", "roomNumber", "preferredLanguage", "description",
    ]
    /// In an entry; a directory may know fewer signs, and says so then.
    private static let longest = 512

    /// The name of an attribute in its own spelling; nil: it is none of those.
    static func attribute(_ text: String) -> String? { known.first { $0.lowercased() == text.lowercased() } }

    /// `attributes`: without empty values. The person's full name is made of its parts where it is not given.
    static func checked(uid: String, _ attributes: [(String, [String])], password: Password? = nil) throws -> Person {
        let uid = try Name.owner(uid)
        if Name.reserved.contains(uid) { throw Failure("\(uid) speaks for the host and can be no person's uid") }
        guard attributes.contains(where: { $0.0 == "sn" && !$0.1.isEmpty }) else { throw Failure("\(uid) has no family name (sn)") }
        for (name, values) in attributes {
            for value in values { if let fault = fault(value, of: name) { throw Failure("\(uid): \(fault)") } }
        }
        switch password {
        case .plain(let bytes)?: if let fault = PasswordRules.fault(bytes) { throw Failure("\(uid): \(fault)") }
        case .hashed(let text)?: if !isHash(text) { throw Failure("\(uid): the hash of the password is of no kind that is taken here") }
        case nil: break
        }
        return Person(uid: uid, attributes: attributes, password: password)
    }

    private static func fault(_ value: String, of name: String) -> String? {
        if value.utf8.count > longest { return "\(name) is longer than \(longest) octets" }
        if value.unicodeScalars.contains(where: isInvisible) { return "\(name) has characters in it that cannot be seen" }
        if name == "mail", Address(value) == nil { return "\"\(value)\" is no address" }
        return nil
    }

    /// Control characters, and those that turn the direction of what stands beside them.
    private static func isInvisible(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.value {
        case 0..<0x20, 0x7f..<0xa0, 0x200e, 0x200f, 0x2028...0x202e, 0x2066...0x2069, 0xfeff: true
        default: false
        }
    }

    /// Schemes of OpenLDAP that hash. What is in no scheme at all would be a password in the clear; {SASL} and others ask elsewhere.
    static func isHash(_ text: String) -> Bool {
        guard text.hasPrefix("{"), let end = text.firstIndex(of: "}"), text.index(after: end) != text.endIndex else { return false }
        let scheme = text[text.index(after: text.startIndex)..<end].uppercased()
        let schemes = [
            "SSHA", "SSHA256", "SSHA384", "SSHA512", "ARGON2", "CRYPT", "PBKDF2", "PBKDF2-SHA1", "PBKDF2-SHA256", "PBKDF2-SHA512",
            "SHA", "SHA256", "SHA384", "SHA512", "SMD5", "MD5",
        ]
        return schemes.contains(scheme) && text.utf8.allSatisfy { 0x21...0x7e ~= $0 } && text.utf8.count <= 1024
    }

    func values(_ name: String) -> [String] { attributes.first { $0.name == name }?.values ?? [] }

    /// First name and name.
    var fullName: String { [values("givenName").first, values("sn").first].compactMap { $0 }.joined(separator: " ") }

    /// An initial and the name, as xredon; nil where letters have no plain form.
    static func suggestedUid(_ firstName: String, _ name: String) -> String? {
        let text = (firstName.prefix(1) + name).lowercased().filter { $0 != " " && $0 != "-" && $0 != "'" }
        return (try? Name.owner(text)) != nil && !Name.reserved.contains(text) ? text : nil
    }
}

extension String {
    /// Without white space at either end; spreadsheets leave it, no-break spaces among it.
    var trimmed: String {
        var text = Substring(self)
        while let first = text.first, first.isWhitespace { text.removeFirst() }
        while let last = text.last, last.isWhitespace { text.removeLast() }
        return String(text)
    }
}
