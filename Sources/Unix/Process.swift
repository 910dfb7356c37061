// Other processes: started, forked, waited for; and what a process was given at birth.
import CUnix
import Glibc

/// The names and values a program is started with. A value type: what a template hands to a fork replaces it whole.
public struct Environment: Sendable {
    /// `NAME=value`, one each.
    public private(set) var entries: [String]

    public init(_ entries: [String]) { self.entries = entries }

    /// What this process was started with.
    public static func inherited() -> Environment {
        var entries: [String] = []
        while let entry = cunix_environment(Int32(entries.count)) { entries.append(String(cString: entry)) }
        return Environment(entries)
    }

    public subscript(name: String) -> String? {
        get {
            let prefix = Array((name + "=").utf8)
            return entries.first { $0.utf8.starts(with: prefix) }.map { String(decoding: $0.utf8.dropFirst(prefix.count), as: UTF8.self) }
        }
        set {
            let prefix = name + "="
            entries.removeAll { $0.hasPrefix(prefix) }
            if let newValue { entries.append(prefix + newValue) }
        }
    }

    public mutating func removeAll(withPrefix prefix: String) { entries.removeAll { $0.hasPrefix(prefix) } }
}

public enum Process {
    public static var id: Int32 { getpid() }

    /// Where a program is: as given if it names a path, else beside this one, else in PATH.
    public static func find(_ program: String, _ environment: Environment) throws(SystemError) -> String {
        if program.contains("/") { return program }
        if let own = ownDirectory() {
            let sibling = own + "/" + program
            if access(sibling, X_OK) == 0 { return sibling }
        }
        for directory in (environment["PATH"] ?? "/usr/bin:/bin").split(separator: ":") {
            let candidate = directory + "/" + program
            if access(candidate, X_OK) == 0 { return String(candidate) }
        }
        throw SystemError("find", program, code: ENOENT)
    }

    /// The directory of this executable.
    public static func ownDirectory() -> String? {
        var buffer = [CChar](repeating: 0, count: 4096)
        let count = readlink("/proc/self/exe", &buffer, buffer.count - 1)
        guard count > 0 else { return nil }
        let path = String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
        return path.lastIndex(of: "/").map { String(path[..<$0]) }
    }

    /// Starts a program; `descriptors[i]` becomes its descriptor i, all others stay behind.
    public static func spawn(
        _ path: String, _ arguments: [String], _ environment: Environment, descriptors: [Int32]
    ) throws(SystemError) -> Int32 {
        let pid = withVectors(arguments, environment) { cunix_spawn(path, $0, $1, descriptors, Int32(descriptors.count)) }
        if pid < 0 { throw SystemError("exec", path) }
        return pid
    }

    /// Goes on as another program.
    public static func exec(_ path: String, _ arguments: [String], _ environment: Environment) throws(SystemError) -> Never {
        _ = withVectors(arguments, environment) { cunix_exec(path, $0, $1) }
        throw SystemError("exec", path)
    }

    /// argv and envp, made before the fork: nothing of Swift runs between fork and exec.
    private static func withVectors<Result>(
        _ arguments: [String], _ environment: Environment,
        _ body: (UnsafePointer<UnsafeMutablePointer<CChar>?>, UnsafePointer<UnsafeMutablePointer<CChar>?>) -> Result
    ) -> Result {
        let argv = arguments.map { strdup($0) } + [nil]
        let envp = environment.entries.map { strdup($0) } + [nil]
        defer { (argv + envp).forEach { free($0) } }
        return body(argv, envp)
    }

    /// 0 in the child. The process must have one thread only.
    public static func fork() throws(SystemError) -> Int32 { try check("fork") { cunix_fork() } }

    /// Before many forks: makes each of them, and its first steps, cheaper.
    public static func prepareForks() { cunix_prepare_forks() }

    /// A child that has ended: its exit code, or 256 plus the signal that killed it. nil: none has.
    public static func reap() -> (pid: Int32, status: Int32)? {
        var status: Int32 = 0
        let pid = cunix_reap(&status)
        return pid > 0 ? (pid, status) : nil
    }

    /// Waits for the end of this child: its exit code, or 256 plus the signal that killed it.
    public static func wait(_ pid: Int32) throws(SystemError) -> Int32 {
        var status: Int32 = 0
        try check("waitpid") { cunix_wait(pid, &status) }
        return status
    }

    public static func kill(_ pid: Int32, _ signal: Int32) { _ = Glibc.kill(pid, signal) }

    /// Ends this process after so many seconds whatever it is doing: the kernel's SIGALRM.
    public static func endAfter(seconds: Int) { _ = alarm(UInt32(clamping: seconds)) }

    /// Files get the modes they are created with, whatever this process inherited.
    public static func clearFileModeMask() { _ = umask(0) }

    public static func exit(_ code: Int32) -> Never { _exit(code) }

    public static func raiseDescriptorLimit() -> Int { Int(cunix_raise_descriptor_limit()) }

    public static func sleep(milliseconds: Int) {
        guard milliseconds > 0 else { return }
        var left = timespec(tv_sec: milliseconds / 1000, tv_nsec: milliseconds % 1000 * 1_000_000)
        var rest = timespec()
        while nanosleep(&left, &rest) < 0, errno == EINTR { left = rest }
    }

    /// `file`'s lock, held until the descriptor is closed. false: another process holds it.
    public static func lock(_ file: borrowing Descriptor) -> Bool { flock(file.raw, LOCK_EX | LOCK_NB) == 0 }

    /// The same, tried until then on the monotonic clock, in milliseconds.
    public static func lock(_ file: borrowing Descriptor, until end: Int) -> Bool {
        while !lock(file) {
            guard Clock.monotonicMilliseconds() < end else { return false }
            sleep(milliseconds: 20)
        }
        return true
    }
}

/// Signals taken one at a time from a descriptor instead of interrupting whatever runs.
public struct Signals: ~Copyable {
    public static let terminate = SIGTERM
    public static let interrupt = SIGINT
    public static let alarm = SIGALRM
    public static let childEnded = SIGCHLD

    public let descriptor: Descriptor

    public init(_ signals: [Int32]) throws(SystemError) {
        let raw = cunix_signal_descriptor(signals, Int32(signals.count))
        if raw < 0 { throw SystemError("signalfd") }
        descriptor = Descriptor(owning: raw)
    }

    public func next() -> Int32? {
        let signal = cunix_next_signal(descriptor.raw)
        return signal == 0 ? nil : signal
    }

    /// For a forked child that goes on without a Signals of its own.
    public static func reset() { cunix_reset_signals() }

    public static func ignoreBrokenPipes() { cunix_ignore_broken_pipes() }
}

/// Clocks. Wall time for names and headers, monotonic time for waiting.
public enum Clock {
    /// Microseconds since 1970.
    public static func microseconds() -> Int {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        return now.tv_sec * 1_000_000 + now.tv_nsec / 1000
    }

    /// Seconds since 1970.
    public static func seconds() -> Int { microseconds() / 1_000_000 }

    /// Milliseconds since some moment in the past; never goes back.
    public static func monotonicMilliseconds() -> Int {
        var now = timespec()
        clock_gettime(CLOCK_MONOTONIC, &now)
        return now.tv_sec * 1000 + now.tv_nsec / 1_000_000
    }
}

public enum Random {
    /// From the kernel.
    public static func bits() -> UInt64 {
        var generator = SystemRandomNumberGenerator()
        return generator.next()
    }

    public static func below(_ bound: Int) -> Int { bound <= 1 ? 0 : Int(bits() % UInt64(bound)) }
}
