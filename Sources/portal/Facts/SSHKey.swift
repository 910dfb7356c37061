// An SSH public key as people paste it: one line, `TYPE BASE64 COMMENT`. Options in front of it, which could run commands, are refused;
// so is what sshd would not take. Pure, apart from the digest.
import Mail
import TLS

struct SSHKey: Sendable, Equatable {
    /// Why a text is no key that can be used, as a sentence's name in Words.
    struct Fault: Error, Equatable { let sentence: String }

    /// DSA is broken, and shorter RSA keys are; the rest is what OpenSSH makes.
    private static let types = [
        "ssh-ed25519", "ssh-rsa", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "sk-ssh-ed25519@openssh.com",
        "sk-ecdsa-sha2-nistp256@openssh.com",
    ]
    /// RSA of 16384 bits, and a comment. Twenty of these fit into a request.
    static let mostOctets = 3000

    let type: String
    let base64: String
    let comment: String
    private let blob: [UInt8]

    init(_ text: String) throws(Fault) {
        guard text.utf8.count <= SSHKey.mostOctets else { throw Fault(sentence: "keys.tooLong") }
        if text.contains("PRIVATE KEY") { throw Fault(sentence: "keys.private") }
        let lines = text.split(whereSeparator: \.isNewline)
        guard lines.count == 1, let line = lines.first else { throw Fault(sentence: "keys.oneLine") }
        let words = line.split(maxSplits: 2, whereSeparator: { $0 == " " || $0 == "\t" })
        guard words.count >= 2, SSHKey.types.contains(String(words[0])) else { throw Fault(sentence: "keys.type") }
        type = String(words[0])
        base64 = String(words[1])
        comment = words.count == 3 ? SSHKey.plain(words[2]) : ""
        guard let blob = Base64.decode(base64.utf8), let fields = SSHKey.fields(blob), fields.first.map({ Array($0) }) == Array(type.utf8), SSHKey.isWhole(type, fields) else {
            throw Fault(sentence: "keys.broken")
        }
        self.blob = blob
        if type == "ssh-rsa", SSHKey.bits(fields[2]) < 2048 { throw Fault(sentence: "keys.short") }
    }

    /// As it stands in authorized_keys.
    var line: String { comment.isEmpty ? "\(type) \(base64)" : "\(type) \(base64) \(comment)" }

    /// As ssh-keygen -l shows it.
    var fingerprint: String {
        let digest = SHA256Digest()
        digest.update(blob)
        return "SHA256:" + String(decoding: Base64.encode(digest.finish()).prefix { $0 != UInt8(ascii: "=") }, as: UTF8.self)
    }

    /// The name people know it by.
    var kind: String {
        switch type {
        case "ssh-ed25519": "Ed25519"
        case "ssh-rsa": "RSA"
        case let type where type.hasPrefix("sk-"): "FIDO"
        default: "ECDSA"
        }
    }

    /// A comment is for people: letters as they are, nothing that could end a line.
    private static func plain(_ text: Substring) -> String {
        String(String.UnicodeScalarView(text.unicodeScalars.filter { $0.value >= 0x20 && !(0x7f...0x9f ~= $0.value) && !(0x2028...0x202e ~= $0.value) && !(0x2066...0x2069 ~= $0.value) }.prefix(100)))
    }

    /// RFC 4253 section 5: each field has its length in front, in four octets.
    private static func fields(_ blob: [UInt8]) -> [ArraySlice<UInt8>]? {
        var fields: [ArraySlice<UInt8>] = []
        var rest = blob[...]
        while !rest.isEmpty {
            guard rest.count >= 4 else { return nil }
            let length = rest.prefix(4).reduce(0) { $0 << 8 | Int($1) }
            rest = rest.dropFirst(4)
            guard length <= rest.count, fields.count < 8 else { return nil }
            fields.append(rest.prefix(length))
            rest = rest.dropFirst(length)
        }
        return fields
    }

    private static func isWhole(_ type: String, _ fields: [ArraySlice<UInt8>]) -> Bool {
        switch type {
        case "ssh-ed25519": fields.count == 2 && fields[1].count == 32
        case "ssh-rsa": fields.count == 3 && fields[1].count <= 8 && fields[2].count <= 2049
        case "sk-ssh-ed25519@openssh.com": fields.count == 3 && fields[1].count == 32
        case "sk-ecdsa-sha2-nistp256@openssh.com": fields.count == 4 && fields[2].count == 65
        case "ecdsa-sha2-nistp256": fields.count == 3 && fields[2].count == 65
        case "ecdsa-sha2-nistp384": fields.count == 3 && fields[2].count == 97
        default: fields.count == 3 && fields[2].count == 133
        }
    }

    private static func bits(_ number: ArraySlice<UInt8>) -> Int {
        let digits = number.drop { $0 == 0 }
        return digits.first.map { digits.count * 8 - $0.leadingZeroBitCount } ?? 0
    }
}
