// OpenSSL, started once, and its errors as sentences.
import COpenSSL

public enum TLSLibrary {
    /// Sets up what OpenSSL otherwise sets up at first use: before a fork it is done once for all children. No configuration file is read: what
    /// holds stands in this room.
    public static func start() {
        _ = OPENSSL_init_ssl(UInt64(OPENSSL_INIT_NO_LOAD_CONFIG | OPENSSL_INIT_LOAD_SSL_STRINGS | OPENSSL_INIT_LOAD_CRYPTO_STRINGS), nil)
    }

    /// `OpenSSL 3.0.17 1 Jul 2025`
    public static var version: String { String(cString: OpenSSL_version(OPENSSL_VERSION)) }
}

/// Something about TLS or a key did not work: a sentence for people, with no secret in it.
public struct TLSFault: Error {
    public let text: String

    init(_ text: String) { self.text = text }

    /// What OpenSSL last complained of; its queue of errors is empty afterwards.
    static func last(_ what: String) -> TLSFault {
        let code = ERR_peek_last_error()
        ERR_clear_error()
        let reason = code == 0 ? nil : reason(code)
        return TLSFault(what.isEmpty ? reason ?? "no reason is known" : reason.map { "\(what): \($0)" } ?? what)
    }

    private static func reason(_ code: UInt) -> String {
        if let reason = ERR_reason_error_string(code) { return String(cString: reason) }
        var buffer = [CChar](repeating: 0, count: 256)
        ERR_error_string_n(code, &buffer, buffer.count)
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
