// Keys that sign mail: RSA as RFC 6376 has it, Ed25519 as RFC 8463 does.
import COpenSSL

public final class SigningKey {
    public enum Kind: Sendable { case rsa2048, ed25519 }

    private let key: OpaquePointer
    public let kind: Kind

    /// As DKIM names it.
    public var algorithm: String { kind == .rsa2048 ? "rsa-sha256" : "ed25519-sha256" }

    private init(owning key: OpaquePointer) throws(TLSFault) {
        self.key = key
        switch EVP_PKEY_get_id(key) {
        case EVP_PKEY_RSA: kind = .rsa2048
        case EVP_PKEY_ED25519: kind = .ed25519
        default: throw TLSFault("this is neither an RSA nor an Ed25519 key")
        }
    }

    /// A private key in PEM, without a password.
    public convenience init(pem: [UInt8]) throws(TLSFault) {
        ERR_clear_error()
        guard let key = pem.withUnsafeBytes({ copenssl_read_key($0.baseAddress, Int32($0.count)) }) else { throw .last("this is no private key in PEM") }
        try self.init(owning: key)
    }

    deinit { EVP_PKEY_free(key) }

    public static func generate(_ kind: Kind) throws(TLSFault) -> SigningKey {
        ERR_clear_error()
        let made: OpaquePointer?
        switch kind {
        case .rsa2048: made = copenssl_make_rsa(2048)
        case .ed25519:
            var key: OpaquePointer?
            guard let context = EVP_PKEY_CTX_new_id(EVP_PKEY_ED25519, nil) else { throw .last("no key could be made") }
            defer { EVP_PKEY_CTX_free(context) }
            if EVP_PKEY_keygen_init(context) == 1 { EVP_PKEY_keygen(context, &key) }
            made = key
        }
        guard let made else { throw .last("no key could be made") }
        return try SigningKey(owning: made)
    }

    /// RSA: PKCS#1 v1.5 over SHA-256 of the text. Ed25519: over the 32 octets of SHA-256 of the text (RFC 8463 3).
    public func sign(_ text: [UInt8]) throws(TLSFault) -> [UInt8] {
        ERR_clear_error()
        var signed = text
        if kind == .ed25519 {
            let digest = SHA256Digest()
            digest.update(text)
            signed = digest.finish()
        }
        guard let context = EVP_MD_CTX_new() else { throw .last("the signature failed") }
        defer { EVP_MD_CTX_free(context) }
        guard EVP_DigestSignInit(context, nil, kind == .ed25519 ? nil : EVP_sha256(), nil, key) == 1 else { throw .last("the signature failed") }
        var length = 0
        guard EVP_DigestSign(context, nil, &length, signed, signed.count) == 1 else { throw .last("the signature failed") }
        var signature = [UInt8](repeating: 0, count: length)
        guard EVP_DigestSign(context, &signature, &length, signed, signed.count) == 1 else { throw .last("the signature failed") }
        return Array(signature.prefix(length))
    }

    /// What a DKIM record's `p=` holds before base64: RSA's SubjectPublicKeyInfo in DER, Ed25519's 32 octets.
    public var publicKey: [UInt8] {
        switch kind {
        case .ed25519:
            var length = 32
            var octets = [UInt8](repeating: 0, count: length)
            EVP_PKEY_get_raw_public_key(key, &octets, &length)
            return Array(octets.prefix(length))
        case .rsa2048:
            var pointer: UnsafeMutablePointer<UInt8>?
            let length = i2d_PUBKEY(key, &pointer)
            guard length > 0, let pointer else { return [] }
            defer { CRYPTO_free(pointer, "", 0) }
            return Array(UnsafeBufferPointer(start: pointer, count: Int(length)))
        }
    }

    /// The private key in PEM (PKCS#8).
    public var pem: [UInt8] {
        guard let memory = BIO_new(BIO_s_mem()) else { return [] }
        defer { BIO_free(memory) }
        guard PEM_write_bio_PrivateKey(memory, key, nil, nil, 0, nil, nil) == 1 else { return [] }
        var octets = [UInt8](repeating: 0, count: 16384)
        let count = BIO_read(memory, &octets, Int32(octets.count))
        return Array(octets.prefix(Int(max(0, count))))
    }
}
