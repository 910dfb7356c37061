// A template: a program that is started once, opens and locks what it needs, and then forks one process for
// each piece of work. A fork costs a quarter of an exec, and 40 KB less memory. This is the starter's side;
// TemplateServer is the other.
//
// They talk over a socket pair (descriptor 3, named by TEMPLATEFD): a request is one datagram with the work's
// arguments, environment and descriptors; a report is one datagram with the request's tag and how its process
// ended. Nothing else passes between them. A starter that ends closes the socket; the template then takes no
// more work, waits for what runs, and ends.
import Unix

/// The starter's side.
public final class Template {
    public struct Report {
        /// The number that the request carried.
        public let tag: UInt64
        /// Exit code, 256 plus a signal, or `couldNotFork`.
        public let status: Int32
    }

    /// Reported when no process could be had for a request.
    public static let couldNotFork: Int32 = 1000

    private let socket: Int32
    private var early: [Report] = []
    public let pid: Int32

    /// The descriptor to poll: readable when a report waits or the template is gone.
    public var descriptor: Int32 { socket }

    public init(program path: String, arguments: [String], environment: Environment) throws(SystemError) {
        var environment = environment
        environment["TEMPLATEFD"] = "3"
        let ends = try Socket.pair()
        pid = try Process.spawn(path, arguments, environment, descriptors: [0, 1, 2, ends.second.raw])
        socket = ends.takeFirst().release()
        Socket.setNonblocking(socket)
    }

    deinit { Socket.close(socket) }

    /// Has a process forked for this piece of work. The descriptors are copied; the caller closes its own.
    public func start(tag: UInt64, arguments: [[UInt8]] = [], environment: [String] = [], descriptors: [Int32]) throws(SystemError) {
        let request = TemplateRequest(arguments: arguments, environment: environment, descriptors: []).encoded(tag: tag)
        while true {
            do throws(SystemError) {
                try Socket.send(socket, request, descriptors: descriptors)
                return
            } catch {
                if !error.wouldBlock { throw error }
                // Both may be full at once: take what the template wants to say while waiting to be heard.
                while let report = receive() { early.append(report) }
                _ = try IO.wait(socket, forWriting: true, milliseconds: 20)
            }
        }
    }

    /// The next report; nil when there is none now.
    public func next() -> Report? { early.isEmpty ? receive() : early.removeFirst() }

    /// The template has ended: its socket is closed, and every report has been read.
    public private(set) var isGone = false

    private func receive() -> Report? {
        do throws(SystemError) {
            guard let (bytes, _) = try Socket.receive(socket, limit: 16) else { isGone = true; return nil }
            guard bytes.count == 12 else { return nil }
            let tag = (0..<8).reduce(UInt64(0)) { $0 | UInt64(bytes[$1]) << (8 * UInt64($1)) }
            let status = (0..<4).reduce(UInt32(0)) { $0 | UInt32(bytes[8 + $1]) << (8 * UInt32($1)) }
            return Report(tag: tag, status: Int32(bitPattern: status))
        } catch {
            if !error.wouldBlock { isGone = true }
            return nil
        }
    }
}

/// One piece of work as a template's child finds it.
public struct TemplateRequest: Sendable {
    public let arguments: [[UInt8]]
    public let environment: [String]
    /// Owned by the child; close-on-exec.
    public let descriptors: [Int32]

    public init(arguments: [[UInt8]], environment: [String], descriptors: [Int32]) {
        self.arguments = arguments
        self.environment = environment
        self.descriptors = descriptors
    }

    /// tag (8 octets, little-endian), number of arguments (2 octets), then every string followed by a NUL.
    public func encoded(tag: UInt64) -> [UInt8] {
        var bytes = (0..<8).map { UInt8(truncatingIfNeeded: tag >> (8 * $0)) }
        bytes += [UInt8(truncatingIfNeeded: arguments.count), UInt8(truncatingIfNeeded: arguments.count >> 8)]
        for argument in arguments { bytes += argument + [0] }
        for entry in environment { bytes += Array(entry.utf8) + [0] }
        return bytes
    }

    public static func decode(_ bytes: [UInt8], _ descriptors: [Int32]) -> (tag: [UInt8], request: TemplateRequest)? {
        guard bytes.count >= 10 else { return nil }
        let count = Int(bytes[8]) | Int(bytes[9]) << 8
        var strings = bytes[10...].split(separator: 0, omittingEmptySubsequences: false).map { Array($0) }
        if strings.last?.isEmpty == true { strings.removeLast() }
        guard strings.count >= count else { return nil }
        let environment = strings[count...].map { String(decoding: $0, as: UTF8.self) }
        return (Array(bytes[..<8]), TemplateRequest(arguments: Array(strings[..<count]), environment: environment, descriptors: descriptors))
    }
}
