// Forms for strangers: signing in. A cookie at random and a token that only this process can make of it; a page elsewhere knows
// neither, so nobody can be signed in as somebody else without noticing. Nothing is kept.
import TLS

struct Visitors: Sendable {
    private let key: [UInt8]

    init() { key = Array(Secret.make(octets: 32).utf8) }

    /// The cookie a browser has, or a new one.
    func cookie(_ given: String?) -> (value: String, isNew: Bool) {
        if let given, Secret.isOne(given, octets: 16) { return (given, false) }
        return (Secret.make(octets: 16), true)
    }

    /// HMAC (RFC 2104) of the cookie; the key has 64 octets, SHA-256's block.
    func token(_ cookie: String) -> String {
        let inner = digest(key.map { $0 ^ 0x36 } + Array(cookie.utf8))
        return Hex.text(digest(key.map { $0 ^ 0x5c } + inner))
    }

    private func digest(_ bytes: [UInt8]) -> [UInt8] {
        let digest = SHA256Digest()
        digest.update(bytes)
        return digest.finish()
    }
}
