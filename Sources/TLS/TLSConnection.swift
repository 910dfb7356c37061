// A TLS connection over descriptors that do not block. Every wait has a bound; an end without TLS's own word for it is told
// apart from a clean one.
import COpenSSL
import Unix

public final class TLSConnection {
    private let ssl: OpaquePointer
    private let input: Int32
    private let output: Int32

    /// `TLSv1.3`
    public var version: String { String(cString: SSL_get_version(ssl)) }

    /// `TLS_AES_256_GCM_SHA384`
    public var cipher: String { SSL_CIPHER_get_name(SSL_get_current_cipher(ssl)).map { String(cString: $0) } ?? "" }

    /// Protocol and cipher, such as `TLSv1.3 TLS_AES_256_GCM_SHA384`.
    public var summary: [UInt8] { Array("\(version) \(cipher)".utf8) }

    /// The name of the server that the client asked for (SNI): its own word, to be believed no more than its other words.
    public var claimedServerName: [UInt8]? {
        SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name).map { Array(UnsafeBufferPointer(start: $0, count: strnlen($0, 256)).map { UInt8(bitPattern: $0) }) }
    }

    init(ssl: OpaquePointer, input: Int32, output: Int32) throws(TLSFault) {
        self.ssl = ssl
        self.input = input
        self.output = output
        guard SSL_set_rfd(ssl, input) == 1, SSL_set_wfd(ssl, output) == 1 else { throw .last("TLS cannot be set up") }
    }

    deinit { SSL_free(ssl) }

    /// The client's handshake, over within so many milliseconds. The server's name is sent (SNI), and checked where the settings say so.
    public static func connect(_ settings: TLSClientSettings, descriptor: Int32, serverName: [UInt8], milliseconds: Int) throws(TLSFault) -> TLSConnection {
        guard let ssl = SSL_new(settings.context) else { throw .last("TLS cannot be set up") }
        let connection = try TLSConnection(ssl: ssl, input: descriptor, output: descriptor)
        let name = String(decoding: serverName, as: UTF8.self)
        // An address is no name to ask for, and RFC 6066 3 forbids it; a certificate may have it all the same.
        if Endpoint.isAddress(name) {
            if settings.isVerifying, X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name) != 1 { throw .last("the address cannot be checked") }
        } else {
            guard copenssl_set_server_name(ssl, name) == 1 else { throw .last("the name cannot be sent") }
            if settings.isVerifying {
                SSL_set_hostflags(ssl, UInt32(X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS))
                guard SSL_set1_host(ssl, name) == 1 else { throw .last("the name cannot be checked") }
            }
        }
        try connection.complete(milliseconds: milliseconds) { SSL_connect(ssl) }
        return connection
    }

    /// The server's handshake, over within so many milliseconds.
    public static func accept(_ settings: TLSServerSettings, input: Int32, output: Int32, milliseconds: Int) throws(TLSFault) -> TLSConnection {
        let ssl = try settings.takeConnection()
        let connection = try TLSConnection(ssl: ssl, input: input, output: output)
        try connection.complete(milliseconds: milliseconds) { SSL_accept(ssl) }
        return connection
    }

    /// The handshake, or its error in words; a certificate that is not believed is named as such.
    private func complete(milliseconds: Int, _ step: () -> Int32) throws(TLSFault) {
        let end = Clock.monotonicMilliseconds() + milliseconds
        while true {
            ERR_clear_error()
            switch outcome(step()) {
            case .octets: return
            case .wantsReading: try wait(forWriting: false, until: end, or: "the TLS handshake took too long")
            case .wantsWriting: try wait(forWriting: true, until: end, or: "the TLS handshake took too long")
            case .ended, .cut: throw TLSFault("the peer closed the connection within the TLS handshake")
            case .broken(let fault):
                let verification = SSL_get_verify_result(ssl)
                if verification != Int(X509_V_OK) { throw TLSFault("the certificate is not good: \(String(cString: X509_verify_cert_error_string(verification)))") }
                throw TLSFault("the TLS handshake failed: \(fault.text)")
            }
        }
    }

    /// What came of a call that does not wait.
    public enum Step {
        case octets(Int)
        /// Nothing, until the connection can be read or written: a call for either may need the other.
        case wantsReading, wantsWriting
        /// The peer has said that no more will come.
        case ended
        /// No more comes, and the peer has not said so: anybody on the way could have made this end.
        case cut
        case broken(TLSFault)
    }

    private func outcome(_ result: Int32) -> Step {
        if result > 0 { return .octets(Int(result)) }
        switch SSL_get_error(ssl, result) {
        case SSL_ERROR_WANT_READ: return .wantsReading
        case SSL_ERROR_WANT_WRITE: return .wantsWriting
        case SSL_ERROR_ZERO_RETURN: return .ended
        default: return copenssl_was_cut() == 1 ? .cut : .broken(.last(""))
        }
    }

    /// Up to `buffer.count` octets, as many as are there.
    public func readSome(into buffer: UnsafeMutableRawBufferPointer) -> Step {
        ERR_clear_error()
        return outcome(SSL_read(ssl, buffer.baseAddress, Int32(clamping: buffer.count)))
    }

    /// As many of the octets as the connection takes.
    public func writeSome(_ bytes: UnsafeRawBufferPointer) -> Step {
        ERR_clear_error()
        return outcome(SSL_write(ssl, bytes.baseAddress, Int32(clamping: bytes.count)))
    }

    private func wait(forWriting: Bool, until end: Int, or sentence: @autoclosure () -> String) throws(TLSFault) {
        let left = end - Clock.monotonicMilliseconds()
        do throws(SystemError) {
            if left > 0, try IO.wait(forWriting ? output : input, forWriting: forWriting, milliseconds: left) { return }
        } catch { throw TLSFault(error.text) }
        throw TLSFault(sentence())
    }

    /// Up to `buffer.count` octets, waiting at most so long; 0 after the peer has said that no more will come. An end without that word
    /// throws.
    public func read(into buffer: UnsafeMutableRawBufferPointer, milliseconds: Int) throws(TLSFault) -> Int {
        let end = Clock.monotonicMilliseconds() + milliseconds
        while true {
            switch readSome(into: buffer) {
            case .octets(let count): return count
            case .wantsReading: try wait(forWriting: false, until: end, or: "nothing came for \(milliseconds / 1000) seconds")
            case .wantsWriting: try wait(forWriting: true, until: end, or: "nothing was taken for \(milliseconds / 1000) seconds")
            case .ended: return 0
            case .cut: throw TLSFault("the connection ended without TLS's word for it")
            case .broken(let fault): throw TLSFault("the connection broke: \(fault.text)")
            }
        }
    }

    /// All of it, waiting at most so long each time the peer takes nothing.
    public func writeAll(_ bytes: UnsafeRawBufferPointer, milliseconds: Int) throws(TLSFault) {
        var done = 0
        while done < bytes.count {
            let end = Clock.monotonicMilliseconds() + milliseconds
            switch writeSome(UnsafeRawBufferPointer(rebasing: bytes[done...])) {
            case .octets(let count): done += count
            case .wantsReading: try wait(forWriting: false, until: end, or: "nothing came for \(milliseconds / 1000) seconds")
            case .wantsWriting: try wait(forWriting: true, until: end, or: "nothing was taken for \(milliseconds / 1000) seconds")
            case .ended, .cut: throw TLSFault("the connection broke")
            case .broken(let fault): throw TLSFault("the connection broke: \(fault.text)")
            }
        }
    }

    /// Says that no more will come; the socket is its owner's to close.
    public func close() {
        ERR_clear_error()
        _ = SSL_shutdown(ssl)
        ERR_clear_error()
    }
}
