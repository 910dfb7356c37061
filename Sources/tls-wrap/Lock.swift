// What tls-wrap may still do: read its certificates, fork, and in the fork that talks to a stranger not even that.
import Program
import Unix

enum Lock {
    /// The template reads certificates anew, and makes new keys for tickets.
    static func lockTemplate(keys: String, tickets: String) throws {
        var sandbox = connectionCalls()
        sandbox.allowFork()
        sandbox.allow(.openat, .newfstatat, .getdents64, .pread64, .renameat, .unlinkat, .fsync, .recvmsg, .signalfd4, .pipe2, .seccomp)
        sandbox.allow(keys, [.readFile, .readDirectory])
        sandbox.allow(tickets, [.readFile, .readDirectory, .writeFile, .makeFile, .removeFile])
        try lock(sandbox)
    }

    /// One of its connections: what is open, and one word to the template of the sessions.
    static func lockConnection() throws {
        try Sandbox.deny(.openat, .newfstatat, .getdents64, .pread64, .renameat, .unlinkat, .fsync, .recvmsg, .signalfd4, .pipe2, .clone, .wait4, .set_robust_list, .seccomp)
    }

    static func lockByHand() throws { try lock(connectionCalls()) }

    private static func connectionCalls() -> Sandbox {
        var sandbox = Sandbox()
        sandbox.allow(.socketpair, .sendmsg, .poll, .ppoll, .fcntl, .shutdown)
        return sandbox
    }

    private static func lock(_ sandbox: Sandbox) throws {
        // No key in a core file, few descriptors, and memory for a connection's buffers.
        try Sandbox.limit(.coreOctets, to: 0)
        try Sandbox.limit(.descriptors, to: 64)
        try Sandbox.limit(.memoryOctets, to: 512 << 20)
        for sentence in try sandbox.lock() { Log.warning("unprotected", .text("reason", sentence)) }
    }
}
