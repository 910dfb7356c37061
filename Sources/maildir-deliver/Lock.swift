// What maildir-deliver may still do with a Maildir open: fill it, and take messages to fill it with.
import Maildir
import Program
import Unix

enum Lock {
    /// The template, and all it forks: the mailboxes' directories and nothing else; fork, become a mailbox' user, lock further.
    static func lockTemplate(mailboxes: String) throws {
        try Sandbox.limit(.coreOctets, to: 0)
        var sandbox = deliveryCalls()
        sandbox.allowFork()
        sandbox.allow(.signalfd4, .pipe2, .poll, .ppoll, .prctl, .seccomp, .setgroups, .setresuid, .setresgid, .capset)
        sandbox.allowLimits()
        sandbox.allow(.landlock_create_ruleset, .landlock_add_rule, .landlock_restrict_self)
        sandbox.allow(mailboxes, [.readDirectory, .readFile, .writeFile, .makeFile, .removeFile, .refer])
        for sentence in try sandbox.lock() { Log.warning("unprotected", .text("reason", sentence)) }
    }

    private static func deliveryCalls() -> Sandbox {
        var sandbox = Sandbox()
        sandbox.allow(.openat, .newfstatat, .renameat2, .linkat, .unlinkat, .fsync, .sendfile, .getdents64, .fcntl, .recvmsg, .sendmsg, .alarm, .setitimer)
        return sandbox
    }

    static func open(_ path: String, hostname: String) throws -> Maildir {
        try Sandbox.limit(.coreOctets, to: 0)
        var sandbox = deliveryCalls()
        sandbox.allow(path, [.readDirectory, .readFile, .writeFile, .makeFile, .removeFile, .refer])
        let maildir = try Maildir(path, hostname: hostname)
        for sentence in try sandbox.lock() { Log.warning("unprotected", .text("reason", sentence)) }
        return maildir
    }
}
