// What smtpd-session may still do once it talks to strangers.
import Control
import Program
import Queue
import Unix

enum Lock {
    static func lock(_ home: Home, _ role: Role, isTemplate: Bool) throws {
        try Sandbox.limit(.coreOctets, to: 0)
        var sandbox = Sandbox()
        sandbox.allow(.newfstatat, .linkat, .fsync, .sync_file_range, .pread64, .statfs, .fcntl, .ioctl, .poll, .ppoll, .shutdown, .clock_nanosleep, .alarm, .setitimer)
        if role == .inbound {
            // Taken over, it may write into an envelope what it likes; but no file that leaves this host.
            sandbox.allow(.openat, argument: 3, mask: QueueEntrance.leavingBit, value: 0)
        } else {
            sandbox.allow(.openat)
            // Who a link names, who knows passwords, and what each has sent.
            sandbox.allow(.readlinkat, .flock, .pwrite64)
            sandbox.allowLocalConnecting()
            sandbox.allow(home.budgets, [.readFile, .writeFile, .makeFile])
        }
        if isTemplate {
            sandbox.allowFork()
            sandbox.allow(.recvmsg, .sendmsg, .signalfd4, .pipe2, .prctl, .seccomp)
            sandbox.allowLimits()
        }
        // A name in the queue for its own file; the mailboxes and control files to look at; the trigger to pull.
        sandbox.allow(home.queue + "/new", [.makeFile, .writeFile])
        sandbox.allow(home.mailboxes, [.readFile])
        sandbox.allow(home.control, [.readFile])
        sandbox.allow(home.trigger, [.writeFile])
        for sentence in try sandbox.lock() { Log.warning("unprotected", .text("reason", sentence)) }
    }

    /// A template's child needs none of what makes children.
    static func lockSession() throws {
        try Sandbox.limit(.descriptors, to: 32)
        try Sandbox.limit(.memoryOctets, to: 512 << 20)
        try Sandbox.deny(.clone, .wait4, .recvmsg, .sendmsg, .prctl, .prlimit64)
    }
}
