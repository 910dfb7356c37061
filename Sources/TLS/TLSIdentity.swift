// A certificate with its key, and how we speak TLS as a server: versions, ciphers, order of preference.
import COpenSSL

final class TLSIdentity {
    let context: OpaquePointer

    /// RFC 9325 4.2: with forward secrecy and authenticated encryption, nothing else. Older clients than these ciphers have no TLS 1.2.
    private static let ciphers = [
        "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-RSA-AES256-GCM-SHA384",
        "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-RSA-CHACHA20-POLY1305",
    ]
    /// AES-128 is as safe as its key agreement, and its SHA-256 half the work.
    private static let suites = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"]
    private static let groups = ["X25519", "P-256", "P-384"]
    /// Safe against tomorrow's quantum computers too; OpenSSL has it from 3.5 on.
    private static let hybridGroup = "X25519MLKEM768"
    private static let signatures = [
        "ECDSA+SHA256", "ECDSA+SHA384", "ECDSA+SHA512", "ed25519", "RSA-PSS+SHA256", "RSA-PSS+SHA384", "RSA-PSS+SHA512", "RSA+SHA256", "RSA+SHA384", "RSA+SHA512",
    ]

    /// `chain`: in PEM, our certificate first. `key`: in PEM, without a password; it may be the same text.
    init(chain: [UInt8], key: [UInt8], tickets: TicketKeys) throws(TLSFault) {
        ERR_clear_error()
        guard let context = SSL_CTX_new(TLS_server_method()) else { throw .last("TLS cannot be set up") }
        self.context = context
        SSL_CTX_set_security_level(context, 2)
        guard copenssl_set_versions(context, TLS1_2_VERSION, 0) == 1,
              SSL_CTX_set_cipher_list(context, TLSIdentity.ciphers.joined(separator: ":")) == 1,
              SSL_CTX_set_ciphersuites(context, TLSIdentity.suites.joined(separator: ":")) == 1,
              copenssl_set_signatures(context, TLSIdentity.signatures.joined(separator: ":")) == 1 else { throw .last("TLS cannot be set up") }
        let groups = TLSIdentity.groups.joined(separator: ":")
        if copenssl_set_groups(context, TLSIdentity.hybridGroup + ":" + groups) != 1 {
            guard copenssl_set_groups(context, groups) == 1 else { throw .last("TLS cannot be set up") }
        }
        copenssl_set_write_modes(context)
        copenssl_set_server_modes(context)
        // Without one, OpenSSL resumes nothing; tickets of one name are never taken for another's.
        SSL_CTX_set_session_id_context(context, Array("semail".utf8), 6)
        tickets.serve(context)
        ERR_clear_error()
        guard copenssl_use_chain(context, chain, Int32(clamping: chain.count), key, Int32(clamping: key.count)) == 1 else {
            throw .last("this is no certificate with its key in PEM")
        }
    }

    deinit { SSL_CTX_free(context) }
}
