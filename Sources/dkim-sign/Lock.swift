// What dkim-sign may still do once it reads mail: read keys, and the messages it is handed.
import Program
import Unix

enum Lock {
    static func lock(_ keys: String, in control: String, isTemplate: Bool) throws {
        try Sandbox.limit(.coreOctets, to: 0)
        var sandbox = Sandbox()
        sandbox.allow(.openat, .newfstatat, .getdents64, .fcntl, .pread64)
        if isTemplate {
            sandbox.allowFork()
            sandbox.allow(.recvmsg, .sendmsg, .shutdown, .signalfd4, .pipe2, .poll, .ppoll, .prctl, .seccomp, .alarm, .setitimer)
            sandbox.allowLimits()
        } else {
            sandbox.allow(.sendfile)
        }
        // No keys yet: then the control directory, or those that are made later would be out of reach.
        sandbox.allow(Path.exists(keys) ? keys : control, [.readDirectory, .readFile])
        for sentence in try sandbox.lock() { Log.warning("unprotected", .text("reason", sentence)) }
    }

    /// A template's child needs none of what makes children.
    static func lockWorker() throws {
        try Sandbox.limit(.memoryOctets, to: 512 << 20)
        try Sandbox.deny(.clone, .wait4, .prctl, .prlimit64, .signalfd4, .pipe2)
    }
}
