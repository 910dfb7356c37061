// What maildir-deliver may still do with a Maildir open: fill it, and take messages to fill it with.
import Maildir
import Program
import Unix

enum Lock {
    static func open(_ path: String, hostname: String) throws -> Maildir {
        try Sandbox.limit(.coreOctets, to: 0)
        var sandbox = Sandbox()
        sandbox.allow(.openat, .newfstatat, .renameat2, .linkat, .unlinkat, .fsync, .sendfile, .getdents64, .fcntl, .recvmsg, .sendmsg, .alarm, .setitimer)
        sandbox.allow(path, [.readDirectory, .readFile, .writeFile, .makeFile, .removeFile, .refer])
        let maildir = try Maildir(path, hostname: hostname)
        for sentence in try sandbox.lock() { Log.warning("unprotected", .text("reason", sentence)) }
        return maildir
    }
}
