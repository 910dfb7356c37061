// The names people may choose for hosts, owners and addresses. Narrower than what mail allows: a mailbox's name becomes a
// file's name, is read aloud, typed on phones and compared by eye, so it has one spelling and no characters that look alike.
// Pure: text in, a name or a sentence out.
import Control
import Mail

public enum Name {
    /// A host or mail domain as DNS has it (RFC 1123 2.1), in small letters.
    public static func hostname(_ text: String) throws(ProvisioningError) -> String {
        let name = ascii(text)
        guard name.utf8.allSatisfy({ $0 < 0x80 }) else {
            throw ProvisioningError("\(text): write a domain of other letters in its ASCII form, which begins with xn--", .badDomain)
        }
        let labels = name.split(separator: ".", omittingEmptySubsequences: false)
        let isWellFormed = labels.allSatisfy { label in
            (1...63).contains(label.utf8.count) && label.first != "-" && label.last != "-" && label.utf8.allSatisfy { isLetterOrDigit($0) || $0 == 0x2d }
        }
        // A name that ends in a number is an address in disguise.
        guard isWellFormed, name.utf8.count <= 253, labels.last?.utf8.contains(where: { !(0x30...0x39 ~= $0) }) == true else {
            throw ProvisioningError("\"\(text)\" is no host name: letters, digits and hyphens, in parts joined by dots, such as mail.example.org", .badDomain)
        }
        return name
    }

    /// The person a mailbox belongs to. It names a directory in mnt/.
    public static func owner(_ text: String) throws(ProvisioningError) -> String {
        guard isIdentifier(text), text.utf8.count <= 64 else {
            throw ProvisioningError("\"\(text)\" is no owner's name: \(rule)", .badName)
        }
        return text
    }

    /// The address of a new mailbox, in small letters.
    public static func mailbox(_ text: String) throws(ProvisioningError) -> Address {
        guard let at = text.lastIndex(of: "@"), at != text.startIndex, text.index(after: at) != text.endIndex else {
            throw ProvisioningError("\"\(text)\" is no address: give it whole, such as anna@example.org", .badName)
        }
        let local = ascii(String(text[..<at]))
        guard isIdentifier(local), local.utf8.count <= 64 else {
            throw ProvisioningError("\"\(text[..<at])\" can be no mailbox's name: \(rule)", .badName)
        }
        let domain = try hostname(String(text[text.index(after: at)...]))
        // RFC 5321 4.5.3.1.3: a path is 256 octets with its brackets; a file's name is 255.
        guard local.utf8.count + 1 + domain.utf8.count <= 254 else { throw ProvisioningError("\(text) is longer than an address may be (254 octets)", .badName) }
        return Address(localPart: Array(local.utf8), domain: Array(domain.utf8))
    }

    /// Local parts that speak for the host and not for a person: RFC 2142 names some, and certificate authorities take mail to
    /// others for the word of the domain's owner. Their mail goes to postmaster or to an alias.
    public static let reserved: Set<String> = [
        "abuse", "admin", "administrator", "hostmaster", "mailer-daemon", "noc", "postmaster", "root", "security", "webmaster",
    ]

    /// The owner of the mailbox that `semail init` makes; the only one who may have the name postmaster.
    public static let postmaster = "postmaster"

    static func requireUnreserved(_ address: Address, owner: String) throws(ProvisioningError) {
        let local = String(decoding: address.localPart, as: UTF8.self)
        guard reserved.contains(local), !(local == postmaster && owner == postmaster) else { return }
        throw ProvisioningError(
            "\(local) is reserved for the host: its mail reaches postmaster, or whom a line in the control file aliases names", .reserved)
    }

    private static let rule = "1 to 64 of a to z, 0 to 9, dot, hyphen and underscore, beginning and ending with a letter or digit, no two dots together"

    private static func isIdentifier(_ text: String) -> Bool {
        let bytes = Array(text.utf8)
        guard let first = bytes.first, let last = bytes.last, isLetterOrDigit(first), isLetterOrDigit(last) else { return false }
        return bytes.allSatisfy { isLetterOrDigit($0) || $0 == 0x2d || $0 == 0x2e || $0 == 0x5f }
            && !zip(bytes, bytes.dropFirst()).contains { $0 == 0x2e && $1 == 0x2e }
    }

    private static func isLetterOrDigit(_ byte: UInt8) -> Bool { 0x61...0x7a ~= byte || 0x30...0x39 ~= byte }

    /// ASCII letters small; all else as it is.
    private static func ascii(_ text: String) -> String { String(decoding: text.utf8.map(\.lowercased), as: UTF8.self) }
}
