// Connections that this host makes: addresses, the race between them (RFC 8305), and reading and writing with a limit of time.
import CUnix
import Glibc

/// An IPv4 or IPv6 address.
public struct NetworkAddress: Equatable, Sendable {
    /// 4 or 16 octets in network order.
    public let octets: [UInt8]

    public var isIPv6: Bool { octets.count == 16 }

    /// nil: neither 4 nor 16 octets.
    public init?(octets: [UInt8]) {
        guard octets.count == 4 || octets.count == 16 else { return nil }
        self.octets = octets
    }

    /// `192.0.2.1`, `2001:db8::1`
    public init?(text: String) {
        var octets = [UInt8](repeating: 0, count: 16)
        if inet_pton(AF_INET, text, &octets) == 1 { self.octets = Array(octets[..<4]) }
        else if inet_pton(AF_INET6, text, &octets) == 1 { self.octets = octets }
        else { return nil }
    }

    public var text: String {
        var buffer = [CChar](repeating: 0, count: 64)
        inet_ntop(isIPv6 ? AF_INET6 : AF_INET, octets, &buffer, 64)
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}

/// A TCP connection that this host has made. Nothing on it waits for longer than it is told.
public struct Connection: ~Copyable {
    public let descriptor: Descriptor
    public let remote: NetworkAddress

    /// nil: the time is over. 0: the other end has closed.
    public func read(into buffer: UnsafeMutableRawBufferPointer, milliseconds: Int) throws(SystemError) -> Int? {
        let end = Clock.monotonicMilliseconds() + milliseconds
        while true {
            guard try IO.wait(descriptor.raw, forWriting: false, milliseconds: max(0, end - Clock.monotonicMilliseconds())) else { return nil }
            do throws(SystemError) { return try IO.read(descriptor.raw, into: buffer) } catch { if !error.wouldBlock { throw error } }
        }
    }

    /// All of it; ETIMEDOUT if the other end takes nothing for so long.
    public func writeAll(_ bytes: UnsafeRawBufferPointer, idleMilliseconds: Int) throws(SystemError) {
        var done = 0
        while done < bytes.count {
            let count = write(descriptor.raw, bytes.baseAddress! + done, bytes.count - done)
            if count >= 0 { done += count; continue }
            let code = errno
            if code == EINTR { continue }
            guard code == EAGAIN else { throw SystemError("write", code: code) }
            guard try IO.wait(descriptor.raw, forWriting: true, milliseconds: idleMilliseconds) else { throw SystemError("write", code: ETIMEDOUT) }
        }
    }
}

/// Addresses of one host, tried side by side with a head start for each before the next: the first to answer wins. One that
/// does not answer costs the head start, not the whole time a connection may take.
public struct Race: ~Copyable {
    /// RFC 8305 5, Connection Attempt Delay.
    private static let headStartMilliseconds = 250

    private struct Runner {
        let address: NetworkAddress
        let socket: Int32
        let end: Int
    }

    private let port: UInt16
    private let milliseconds: Int
    /// The addresses that failed, and why.
    public private(set) var failures: [(address: NetworkAddress, error: SystemError)] = []
    private var running: [Runner] = []

    /// Each address may take so long.
    public init(port: UInt16, milliseconds: Int) {
        self.port = port
        self.milliseconds = milliseconds
    }

    deinit { for runner in running { close(runner.socket) } }

    /// The connection to the first that answers; nil: none does, `failures` says why.
    public mutating func run(_ addresses: [NetworkAddress]) -> Connection? {
        var waiting = addresses[...]
        var nextStart = Clock.monotonicMilliseconds()
        while !waiting.isEmpty || !running.isEmpty {
            let now = Clock.monotonicMilliseconds()
            if !waiting.isEmpty, running.isEmpty || now >= nextStart {
                start(waiting.removeFirst(), end: now + milliseconds)
                nextStart = now + Race.headStartMilliseconds
                continue
            }
            let next = min(running.map(\.end).min()!, waiting.isEmpty ? .max : nextStart)
            let failed = failures.count
            if let connection = watch(milliseconds: max(0, next - now)) { return connection }
            // RFC 8305 5: the head start ends with a failure.
            if failures.count > failed { nextStart = now }
        }
        return nil
    }

    private mutating func start(_ address: NetworkAddress, end: Int) {
        let socket = cunix_connect_begin(address.octets, address.octets.count, port)
        if socket < 0 { failures.append((address, SystemError("connect"))) } else { running.append(Runner(address: address, socket: socket, end: end)) }
    }

    private mutating func watch(milliseconds: Int) -> Connection? {
        var polls = running.map { pollfd(fd: $0.socket, events: Int16(POLLOUT), revents: 0) }
        _ = poll(&polls, nfds_t(polls.count), Int32(clamping: milliseconds))
        let now = Clock.monotonicMilliseconds()
        for (runner, state) in zip(running, polls) where state.revents != 0 || now >= runner.end {
            running.removeAll { $0.socket == runner.socket }
            let outcome = state.revents != 0 ? cunix_connect_outcome(runner.socket) : ETIMEDOUT
            if outcome == 0 { return Connection(descriptor: Descriptor(owning: runner.socket), remote: runner.address) }
            close(runner.socket)
            failures.append((runner.address, SystemError("connect", code: outcome)))
        }
        return nil
    }
}
