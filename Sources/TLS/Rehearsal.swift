// Handshakes in memory, before the first fork: what OpenSSL, the language and the allocator set up at first use is then set up once,
// and every connection's process finds it done.
import COpenSSL
import Unix

extension TLSServerSettings {
    /// A full and a resumed handshake in each version, with ourselves; `body` gets the server's side of each, from which a message can be read.
    public func rehearse(_ body: (_ connection: TLSConnection, _ descriptor: Int32) -> Void) {
        guard let context = SSL_CTX_new(TLS_client_method()) else { return }
        defer { SSL_CTX_free(context) }
        SSL_CTX_set_verify(context, SSL_VERIFY_NONE, nil)
        for version in [TLS1_2_VERSION, TLS1_3_VERSION] {
            _ = copenssl_set_versions(context, version, version)
            let session = converse(context, resuming: nil, body)
            SSL_SESSION_free(converse(context, resuming: session, body))
            SSL_SESSION_free(session)
        }
        ERR_clear_error()
    }

    /// One connection, and the session to resume.
    private func converse(_ context: OpaquePointer, resuming session: OpaquePointer?, _ body: (TLSConnection, Int32) -> Void) -> OpaquePointer? {
        guard let client = SSL_new(context) else { return nil }
        defer { SSL_free(client) }
        guard let ends = try? Socket.streamPair(), let ssl = newConnection() else { return nil }
        let (near, far) = (ends.first.raw, ends.second.raw)
        Socket.setNonblocking(near)
        Socket.setNonblocking(far)
        guard let server = try? TLSConnection(ssl: ssl, input: near, output: near),
              copenssl_set_server_name(client, TLSServerSettings.fallback) == 1, SSL_set_fd(client, far) == 1 else { return nil }
        SSL_set_session(client, session)
        for _ in 0..<10 {
            let isClientDone = SSL_connect(client) == 1
            if SSL_accept(ssl) == 1, isClientDone { break }
        }
        var octets = [UInt8](repeating: 0x20, count: 512)
        SSL_write(client, octets, 512)
        body(server, near)
        SSL_read(client, &octets, 512)
        SSL_shutdown(client)
        return SSL_get1_session(client)
    }
}
