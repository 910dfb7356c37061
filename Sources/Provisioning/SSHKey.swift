// A public key of SSH as its owner pastes it: one line of a .pub file. What comes out is a line that we have written ourselves from the
// parts we understood, so that nothing a stranger wrote reaches a file that sshd reads. Pure.
import Mail
import TLS

public struct SSHKey: Equatable, Sendable {
    /// `ssh-ed25519` and the like.
    public let type: String
    /// As RFC 4253 6.6 encodes it.
    public let blob: [UInt8]
    /// What its owner calls it; may be empty.
    public let comment: String

    /// A line of authorized_keys without its options.
    public var line: String { bare + (comment.isEmpty ? "" : " " + comment) }
    /// Type and key, without a comment.
    var bare: String { "\(type) \(String(decoding: Base64.encode(blob), as: UTF8.self))" }

    /// `SHA256:…` as ssh-keygen -l shows it.
    public var fingerprint: String {
        let digest = SHA256Digest()
        digest.update(blob)
        return "SHA256:" + String(decoding: Base64.encode(digest.finish()), as: UTF8.self).prefix { $0 != "=" }
    }

    public static func == (left: SSHKey, right: SSHKey) -> Bool { left.blob == right.blob }

    // MARK: Reading

    /// No key of a kind we take is longer, with its comment.
    private static let lineLimit = 8192

    public init(_ text: String) throws(ProvisioningError) {
        guard text.utf8.count <= SSHKey.lineLimit else { throw SSHKey.refusal("that is longer than any public key: paste the one line of the .pub file") }
        guard !text.contains("PRIVATE KEY") else {
            throw SSHKey.refusal("that is a private key, which nobody else may ever see: make a new one, and paste the line of its .pub file")
        }
        let words = text.split(maxSplits: 2, whereSeparator: { $0 == " " || $0 == "\t" || $0.isNewline })
        guard text.utf8.allSatisfy({ $0 != 0 }), words.count < 3 || !words[2].trimmed.contains(where: \.isNewline), let type = words.first.map(String.init) else {
            throw SSHKey.refusal("that is no line of a .pub file")
        }
        guard let kind = Kind(type) else { throw SSHKey.refusal(SSHKey.complaint(type, text)) }
        guard words.count >= 2, let blob = Base64.decode(Array(words[1].utf8)) else { throw SSHKey.refusal("the key is cut off, or has been changed: paste the whole line of the .pub file") }
        var reader = SSHKeyReader(blob)
        // The type stands in the key once more. Were they to differ, sshd would go by this one.
        guard reader.string() == Array(type.utf8) else { throw SSHKey.refusal("the key is no \(type), whatever the line says: paste the whole line of the .pub file") }
        try kind.check(&reader)
        guard reader.isAtEnd else { throw SSHKey.refusal("something follows the key: paste the line of the .pub file as it is") }
        self.type = type
        self.blob = blob
        comment = words.count == 3 ? SSHKey.clean(words[2]) : ""
    }

    fileprivate static func refusal(_ text: String) -> ProvisioningError { ProvisioningError(text, .badKey) }

    private static func complaint(_ type: String, _ text: String) -> String {
        if type == "ssh-dss" { return "DSA keys are not safe any more: make one with ssh-keygen -t ed25519" }
        if type.contains("-cert-") { return "that is a certificate: paste the key it was made for" }
        if type.hasPrefix("----") { return "that is another form of key: paste what ssh-keygen -i -f FILE makes of it" }
        if text.contains("ssh-") || text.contains("ecdsa-") { return "options before a key are not taken: paste the line of the .pub file as it is" }
        return "that is no public key of SSH: paste the line of a .pub file, which begins with ssh-ed25519, ecdsa-sha2-, ssh-rsa or sk-"
    }

    /// A name for people, and nothing that moves a cursor, ends a line or is markup.
    private static func clean(_ text: Substring) -> String {
        var result = ""
        for scalar in text.trimmed.unicodeScalars.prefix(64) {
            let isPlain = scalar.isASCII ? scalar.value >= 0x20 && scalar.value != 0x7f && !"\"'`<>&\\$#".unicodeScalars.contains(scalar) : scalar.properties.isAlphabetic
            result.unicodeScalars.append(isPlain ? scalar : "_")
        }
        return String(result[...].trimmed)
    }
}

/// The kinds of keys that are taken, and what each has in it.
private enum Kind {
    case ed25519, rsa
    case ecdsa(curve: String, octets: Int)
    /// Of a security key: the public key, then the application it was made for.
    indirect case hardware(Kind)

    init?(_ type: String) {
        switch type {
        case "ssh-ed25519": self = .ed25519
        case "ssh-rsa": self = .rsa
        case "ecdsa-sha2-nistp256": self = .ecdsa(curve: "nistp256", octets: 32)
        case "ecdsa-sha2-nistp384": self = .ecdsa(curve: "nistp384", octets: 48)
        case "ecdsa-sha2-nistp521": self = .ecdsa(curve: "nistp521", octets: 66)
        case "sk-ssh-ed25519@openssh.com": self = .hardware(.ed25519)
        case "sk-ecdsa-sha2-nistp256@openssh.com": self = .hardware(.ecdsa(curve: "nistp256", octets: 32))
        default: return nil
        }
    }

    func check(_ reader: inout SSHKeyReader) throws(ProvisioningError) {
        let damaged = SSHKey.refusal("the key is damaged: paste the whole line of the .pub file")
        switch self {
        case .ed25519: guard reader.string()?.count == 32 else { throw damaged }
        case .ecdsa(let curve, let octets):
            // RFC 5656 3.1; 0x04: a point that is written out.
            guard reader.string() == Array(curve.utf8), let point = reader.string(), point.count == 1 + 2 * octets, point.first == 4 else { throw damaged }
        case .rsa:
            guard let exponent = reader.number(), let modulus = reader.number(), exponent.count <= 8, exponent != [1], exponent.last.map({ $0 & 1 }) == 1, let first = modulus.first else {
                throw damaged
            }
            let bits = modulus.count * 8 - first.leadingZeroBitCount
            guard bits >= 2048 else { throw SSHKey.refusal("an RSA key of \(bits) bits is too short: make one with ssh-keygen -t ed25519") }
            guard bits <= 16384 else { throw damaged }
        case .hardware(let kind):
            try kind.check(&reader)
            guard let application = reader.string(), !application.isEmpty, application.allSatisfy({ 0x20 < $0 && $0 < 0x7f }) else { throw damaged }
        }
    }
}

/// Strings and numbers of RFC 4251 5.
private struct SSHKeyReader {
    private var left: ArraySlice<UInt8>

    init(_ bytes: [UInt8]) { left = bytes[...] }

    var isAtEnd: Bool { left.isEmpty }

    mutating func string() -> [UInt8]? {
        guard left.count >= 4 else { return nil }
        let length = left.prefix(4).reduce(0) { $0 << 8 | Int($1) }
        guard left.count - 4 >= length else { return nil }
        defer { left = left.dropFirst(4 + length) }
        return Array(left.dropFirst(4).prefix(length))
    }

    /// A positive number without leading zeros, as it must be written.
    mutating func number() -> [UInt8]? {
        guard let bytes = string(), let first = bytes.first, first < 0x80 else { return nil }
        guard first == 0 else { return bytes }
        guard bytes.count > 1, bytes[1] >= 0x80 else { return nil }
        return Array(bytes.dropFirst())
    }
}

extension Substring {
    fileprivate var trimmed: Substring {
        var text = self
        while text.first?.isWhitespace == true { text.removeFirst() }
        while text.last?.isWhitespace == true { text.removeLast() }
        return text
    }
}
