// How we speak TLS as a client: which versions, and whom we believe.
import COpenSSL

/// Whom a client believes to be who they say they are.
public enum TLSTrust: Sendable {
    /// Anybody: encryption against listeners, no more (RFC 7435).
    case anybody
    /// Those whom these authorities vouch for; nil: the authorities the system trusts.
    case authorities(file: String?)
}

/// Made once, before a program locks itself in, and used for many connections.
public final class TLSClientSettings {
    let context: OpaquePointer
    let isVerifying: Bool

    private static let systemAuthorities = "/etc/ssl/certs/ca-certificates.crt"

    public init(_ trust: TLSTrust) throws(TLSFault) {
        guard let context = SSL_CTX_new(TLS_client_method()) else { throw .last("TLS cannot be set up") }
        self.context = context
        copenssl_set_write_modes(context)
        switch trust {
        case .anybody:
            isVerifying = false
            _ = copenssl_set_versions(context, TLS1_2_VERSION, 0)
            SSL_CTX_set_verify(context, SSL_VERIFY_NONE, nil)
        case .authorities(let file):
            isVerifying = true
            _ = copenssl_set_versions(context, TLS1_2_VERSION, 0)
            SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nil)
            let path = file ?? TLSClientSettings.systemAuthorities
            guard SSL_CTX_load_verify_file(context, path) == 1 else { throw .last("no certificates of authorities in \(path)") }
        }
    }

    deinit { SSL_CTX_free(context) }
}
