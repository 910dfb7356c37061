// Where keys lie and how they are told to the world: control/dkim/DOMAIN/SELECTOR.pem, and the TXT record
// SELECTOR._domainkey.DOMAIN (RFC 6376 3.6). A selector has one record, and a record one key, so each key has a selector of its own,
// and the name of its file is that selector. Pure.
import Mail

/// The names of key files.
public enum KeyFile {
    /// Within the control directory.
    public static let directory = "dkim"

    private static let ending = ".pem"

    /// Keys that sign a message at most: its header is to stay readable, and receivers look at the first few only.
    public static let most = 8

    public static func name(selector: String) -> String { selector + ending }

    /// nil: no key's name.
    public static func selector(file name: String) -> String? {
        guard name.hasSuffix(ending) else { return nil }
        let selector = String(name.dropLast(ending.utf8.count))
        return isSelector(selector) ? selector : nil
    }

    /// Labels as DNS has them, joined by dots (RFC 6376 3.1).
    public static func isSelector(_ text: String) -> Bool {
        text.utf8.count <= 128 && text.utf8.split(separator: 0x2e, omittingEmptySubsequences: false).allSatisfy { label in
            (1...63).contains(label.count) && label.first != 0x2d && label.last != 0x2d && label.allSatisfy { byte in
                0x30...0x39 ~= byte || 0x61...0x7a ~= byte.lowercased || byte == 0x2d || byte == 0x5f
            }
        }
    }
}

/// A public key as DNS has it.
public struct KeyRecord {
    /// `semail2026-rsa._domainkey.example.org`
    public let name: String
    /// `v=DKIM1; k=rsa; p=...`
    public let text: String

    /// `publicKey`: SubjectPublicKeyInfo of an RSA key, the 32 octets of an Ed25519 key (RFC 8463 4.2).
    public init(domain: String, selector: String, algorithm: String, publicKey: [UInt8]) {
        name = "\(selector)._domainkey.\(domain)"
        let kind = algorithm.prefix { $0 != "-" }
        text = "v=DKIM1; k=\(kind); p=\(String(decoding: Base64.encode(publicKey), as: UTF8.self))"
    }

    /// A string of a TXT record holds 255 octets; those who read the record join them (RFC 6376 3.6.2.2).
    public var strings: [String] {
        let octets = Array(text.utf8)
        return stride(from: 0, to: octets.count, by: 255).map { String(decoding: octets[$0..<min($0 + 255, octets.count)], as: UTF8.self) }
    }

    /// As a zone file has it (RFC 1035 5.1): a string on each line, the name absolute.
    public var zoneText: String {
        let quoted = strings.map { "\"\($0)\"" }
        return "\(name). IN TXT \(quoted.count == 1 ? quoted[0] : "(\n    " + quoted.joined(separator: "\n    ") + " )")\n"
    }
}
