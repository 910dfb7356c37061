// Doors a program locks behind itself. A kernel without one of them costs a warning, not the service.
import CUnix
import Glibc

/// System calls and paths a program needs; everything else is refused from then on.
public struct Sandbox {
    private var calls: [cunix_allowed]
    private var paths: [(String, Int32)] = []
    private var mayConnect = false
    private var maySignal = false

    public init() {
        calls = (0..<cunix_basic_calls_count()).map {
            cunix_allowed(number: cunix_basic_call($0), argument: 0, mask: 0, value: 0)
        }
    }

    /// Allows system calls whatever their arguments.
    public mutating func allow(_ more: Call...) {
        calls += more.map { cunix_allowed(number: $0.number, argument: 0, mask: 0, value: 0) }
    }

    /// Allows one call where (argument & mask) == value.
    public mutating func allow(_ call: Call, argument: Int32, mask: UInt32, value: UInt32) {
        calls.append(cunix_allowed(number: call.number, argument: argument, mask: mask, value: value))
    }

    /// Allows fork as the C library does it: no threads, no namespaces.
    public mutating func allowFork() {
        allow(.clone, argument: 0, mask: UInt32.max, value: 0x0120_0011 /* CHILD_CLEARTID, CHILD_SETTID, SIGCHLD */)
        allow(.wait4, .set_robust_list)
    }

    /// Allows connecting to any host by TCP, and asking a name server by UDP; no other kind of socket.
    public mutating func allowConnecting() {
        mayConnect = true
        for family in [AF_INET, AF_INET6] { allow(.socket, argument: 0, mask: UInt32.max, value: UInt32(family)) }
        allow(.connect, .getsockopt, .poll, .ppoll, .fcntl, .ioctl, .sendto, .recvfrom)
        allow(Call(number: Int32(cunix_sys_setsockopt)), Call(number: Int32(cunix_sys_writev)))
    }

    /// Allows killing this one process: named by number in the seccomp filter, for Landlock's scope knows only descendants of later.
    public mutating func allowKilling(_ pid: Int32) {
        maySignal = true
        allow(.kill, argument: 0, mask: UInt32.max, value: UInt32(bitPattern: pid))
        allow(.wait4)
    }

    /// Allows connecting to unix sockets, and making no other kind.
    public mutating func allowLocalConnecting() {
        allow(.socket, argument: 0, mask: UInt32.max, value: 1 /* AF_UNIX */)
        allow(.connect)
    }

    /// Allows limits of one's own, and of no other process.
    public mutating func allowLimits() { allow(.prlimit64, argument: 0, mask: UInt32.max, value: 0) }

    public struct Access: OptionSet, Sendable {
        public let rawValue: Int32
        public init(rawValue: Int32) { self.rawValue = rawValue }
        public static let readFile = Access(rawValue: 1)
        public static let readDirectory = Access(rawValue: 2)
        public static let writeFile = Access(rawValue: 4)
        public static let makeFile = Access(rawValue: 8)
        public static let removeFile = Access(rawValue: 16)
        /// Linking or renaming between directories.
        public static let refer = Access(rawValue: 32)
        public static let execute = Access(rawValue: 64)
        public static let makeDirectory = Access(rawValue: 128)
    }

    /// Allows access beneath a path; one that does not exist is passed over.
    public mutating func allow(_ path: String, _ access: Access) { paths.append((path, access.rawValue)) }

    /// Locks. Returns a sentence per door this kernel does not have.
    public func lock() throws(SystemError) -> [String] {
        var missing: [String] = []
        try Sandbox.noNewPrivileges()
        try lockPaths(&missing)
        if cunix_allow_only(calls, calls.count) < 0 {
            if errno != ENOSYS && errno != EINVAL { throw SystemError("seccomp") }
            missing.append("this kernel has no seccomp filters: system calls are not restricted")
        }
        return missing
    }

    /// Only the paths, for programs that lock in two steps.
    public func lockPaths(_ missing: inout [String]) throws(SystemError) {
        try Sandbox.noNewPrivileges()
        let held = paths.map { (strdup($0.0)!, $0.1) }
        defer { for (pointer, _) in held { free(pointer) } }
        let rules = held.map { cunix_path_rule(path: UnsafePointer($0.0), access: UInt64($0.1)) }
        switch cunix_landlock(rules, rules.count, mayConnect ? 1 : 0, maySignal ? 1 : 0) {
        case 0: missing.append("this kernel has no Landlock: file access is restricted by users alone")
        case ..<0: throw SystemError("landlock")
        default: break
        }
    }

    public static func noNewPrivileges() throws(SystemError) {
        if cunix_no_new_privileges() < 0 { throw SystemError("no_new_privs") }
    }

    /// Refuses further calls on top of a filter that is in force.
    public static func deny(_ calls: Call...) throws(SystemError) {
        let numbers = calls.map(\.number)
        if cunix_deny(numbers, numbers.count) < 0 { throw SystemError("seccomp") }
    }

    public enum Resource { case coreOctets, fileOctets, descriptors, memoryOctets, processes }

    /// An upper bound that cannot be raised again.
    public static func limit(_ resource: Resource, to value: Int) throws(SystemError) {
        let number: Int32 = switch resource {
        case .coreOctets: Int32(RLIMIT_CORE.rawValue)
        case .fileOctets: Int32(RLIMIT_FSIZE.rawValue)
        case .descriptors: Int32(RLIMIT_NOFILE.rawValue)
        case .memoryOctets: Int32(RLIMIT_AS.rawValue)
        case .processes: Int32(__RLIMIT_NPROC.rawValue)
        }
        if cunix_limit(number, UInt64(value)) < 0 { throw SystemError("setrlimit") }
    }
}
