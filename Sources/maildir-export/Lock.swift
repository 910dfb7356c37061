// What maildir-export may do: until it knows whose Maildir is wanted, look the owner up and become the mailbox's user; then read in that
// Maildir, and write to what it was given.
import Control
import Program
import Unix

enum Lock {
    /// A service, before it reads what a stranger asks. Mailboxes are beneath mnt/, as for deliveries.
    static func lockBeforeRequest(_ home: Home) throws {
        try Sandbox.limit(.coreOctets, to: 0)
        var sandbox = readingCalls()
        sandbox.allow(.poll, .ppoll, .readlinkat, .prctl, .seccomp, .setgroups, .setresuid, .setresgid, .capset)
        sandbox.allow(.landlock_create_ruleset, .landlock_add_rule, .landlock_restrict_self)
        sandbox.allowLimits()
        for path in [home.mailboxes, home.mounts] { sandbox.allow(path, [.readDirectory, .readFile]) }
        try lock(sandbox)
    }

    private static func readingCalls() -> Sandbox {
        var sandbox = Sandbox()
        sandbox.allow(.openat, .newfstatat, .getdents64, .fcntl, .pread64, .sendfile, .alarm, .setitimer)
        return sandbox
    }

    /// The Maildir, and no other path.
    static func open(_ path: String) throws -> Directory {
        try Sandbox.limit(.coreOctets, to: 0)
        try Sandbox.limit(.descriptors, to: 64)
        var sandbox = readingCalls()
        sandbox.allow(path, [.readDirectory, .readFile])
        let maildir = try Directory(path)
        try lock(sandbox)
        return maildir
    }

    private static func lock(_ sandbox: Sandbox) throws {
        for sentence in try sandbox.lock() { Log.warning("unprotected", .text("reason", sentence)) }
    }
}
