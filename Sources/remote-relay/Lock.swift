// What remote-relay may still do once it talks to strangers: connect, and send the messages it is handed. It can open no file.
import Control
import Program
import Unix

enum Lock {
    /// The template: what it opens again before each connection, and fork.
    static func lockTemplate(_ home: Home, authorities: String?) throws {
        try Sandbox.limit(.coreOctets, to: 0)
        var sandbox = relayCalls()
        sandbox.allowFork()
        sandbox.allow(.openat, .signalfd4, .pipe2, .prctl, .seccomp)
        sandbox.allowLimits()
        sandbox.allow(home.control, [.readFile])
        // By their directories: files are replaced. resolv.conf may be a link to where one of these keeps it.
        for path in ["/etc", "/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager"] { sandbox.allow(path, [.readFile]) }
        if let slash = authorities?.lastIndex(of: "/") { sandbox.allow(String(authorities![...slash]), [.readFile]) }
        try lock(sandbox)
    }

    /// One of its connections: nothing but that.
    static func lockConnection() throws {
        try Sandbox.limit(.descriptors, to: 64)
        try Sandbox.limit(.memoryOctets, to: 512 << 20)
        try Sandbox.deny(.openat, .clone, .wait4, .signalfd4, .pipe2, .prctl, .seccomp, .prlimit64)
    }

    static func lockByHand() throws {
        try Sandbox.limit(.coreOctets, to: 0)
        try lock(relayCalls())
    }

    private static func relayCalls() -> Sandbox {
        var sandbox = Sandbox()
        sandbox.allowConnecting()
        sandbox.allow(.newfstatat, .pread64, .recvmsg, .sendmsg, .shutdown)
        return sandbox
    }

    private static func lock(_ sandbox: Sandbox) throws {
        for sentence in try sandbox.lock() { Log.warning("unprotected", .text("reason", sentence)) }
    }
}
