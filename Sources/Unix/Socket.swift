// Listening, accepting, and passing descriptors between processes.
import CUnix
import Glibc

/// One end of a TCP connection.
public struct Endpoint: Sendable, Equatable {
    /// As people write it: `192.0.2.1`, `2001:db8::1`.
    public let address: String
    public let port: UInt16

    /// Whether the text is a numeric address, spelled as `address` is.
    public static func isAddress(_ text: String) -> Bool { cunix_is_address(text) == 1 }

    init(_ raw: cunix_address) {
        address = withUnsafeBytes(of: raw.text) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        port = raw.port
    }
}

public struct Listener: ~Copyable {
    public let descriptor: Descriptor
    /// The TCP port in use; 0 for a unix socket.
    public let port: UInt16

    /// `host`: a numeric address, or `0` for all of IPv4 and IPv6. Port 0: the kernel chooses.
    /// `isShared`: the same port of other addresses may be another's.
    public init(host: String, port: UInt16, backlog: Int, isShared: Bool = false) throws(SystemError) {
        var inUse: UInt16 = 0
        let raw = cunix_listen_tcp(host, port, Int32(backlog), isShared ? 1 : 0, &inUse)
        if raw < 0 { throw SystemError("listen", "\(host) port \(port)") }
        descriptor = Descriptor(owning: raw)
        self.port = inUse
    }

    public init(path: String, backlog: Int) throws(SystemError) {
        let raw = cunix_listen_unix(path, Int32(backlog))
        if raw < 0 { throw SystemError("listen", path) }
        descriptor = Descriptor(owning: raw)
        port = 0
    }

    /// The next connection; nil when there is none after all.
    public func accept() throws(SystemError) -> (connection: Int32, remote: Endpoint, local: Endpoint)? {
        var remote = cunix_address(), local = cunix_address()
        let raw = cunix_accept(descriptor.raw, &remote, &local)
        if raw >= 0 { return (raw, Endpoint(remote), Endpoint(local)) }
        return try Listener.nothing()
    }

    /// The next connection on a unix socket, and who is at the other end by the kernel's word.
    public func acceptLocal() throws(SystemError) -> (connection: Int32, pid: Int32, uid: UInt32, gid: UInt32)? {
        var pid: pid_t = 0, uid: uid_t = 0, gid: gid_t = 0
        let raw = cunix_accept_unix(descriptor.raw, &pid, &uid, &gid)
        if raw >= 0 { return (raw, pid, uid, gid) }
        return try Listener.nothing()
    }

    /// A client that went away between connecting and accepting is no error of ours.
    private static func nothing<Result>() throws(SystemError) -> Result? {
        let code = errno
        switch code {
        case EAGAIN, EINTR, ECONNABORTED, EPROTO, ENETDOWN, ENETUNREACH, EHOSTDOWN, EHOSTUNREACH, ENOTCONN, EINVAL: return nil
        default: throw SystemError("accept", code: code)
        }
    }
}

public enum Socket {
    public static func connect(path: String) throws(SystemError) -> Descriptor {
        let raw = cunix_connect_unix(path)
        if raw < 0 { throw SystemError("connect", path) }
        return Descriptor(owning: raw)
    }

    /// No more octets in either direction; the other end sees the end, whoever else holds the descriptor.
    public static func shutDown(_ raw: Int32) { _ = Glibc.shutdown(raw, Int32(SHUT_RDWR)) }

    /// No more octets from us.
    public static func endWriting(_ raw: Int32) { _ = Glibc.shutdown(raw, Int32(SHUT_WR)) }

    public static func setNonblocking(_ raw: Int32, _ on: Bool = true) { _ = cunix_set_nonblocking(raw, on ? 1 : 0) }

    public static func close(_ raw: Int32) { _ = Glibc.close(raw) }

    /// Two ends for whole datagrams and descriptors.
    public static func pair() throws(SystemError) -> Descriptor.Pair {
        var ends: [Int32] = [-1, -1]
        if cunix_seqpacket_pair(&ends) < 0 { throw SystemError("socketpair") }
        return Descriptor.Pair(first: Descriptor(owning: ends[0]), second: Descriptor(owning: ends[1]))
    }

    public static func send(_ raw: Int32, _ bytes: [UInt8], descriptors: [Int32] = []) throws(SystemError) {
        let count = bytes.withUnsafeBytes { cunix_send(raw, $0.baseAddress, $0.count, descriptors, Int32(descriptors.count)) }
        if count < 0 { throw SystemError("sendmsg") }
    }

    /// One datagram; nil when the other end is gone.
    public static func receive(_ raw: Int32, limit: Int) throws(SystemError) -> (bytes: [UInt8], descriptors: [Int32])? {
        var descriptors = [Int32](repeating: -1, count: 250)
        var count: Int32 = 250
        var got = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: limit) { buffer, used in
            got = cunix_receive(raw, buffer.baseAddress, limit, &descriptors, &count)
            used = max(0, got)
        }
        if got < 0 { throw SystemError("recvmsg") }
        if got == 0 { return nil }
        return (bytes, Array(descriptors[..<Int(count)]))
    }
}
