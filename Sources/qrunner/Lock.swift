// What qrunner may still do once its helper runs: look after the queue, look up mailboxes, hand work over.
import Control
import Program
import Unix

enum Lock {
    static func lock(_ home: Home) throws {
        try Sandbox.limit(.coreOctets, to: 0)
        var sandbox = Sandbox()
        sandbox.allow(.openat, .newfstatat, .linkat, .renameat, .unlinkat, .mkdirat, .getdents64, .pread64, .pwrite64, .fsync)
        sandbox.allow(.sync_file_range, .fcntl, .ioctl, .poll, .ppoll, .socketpair, .sendmsg, .recvmsg, .accept4, .getsockopt, .shutdown, .wait4)
        sandbox.allow(home.queue, [.readDirectory, .readFile, .writeFile, .makeFile, .removeFile, .refer, .makeDirectory])
        sandbox.allow(home.control, [.readFile])
        // Whether there are keys at all; their files are not ours to read.
        sandbox.allow(home.keys, [.readDirectory])
        sandbox.allow(home.mailboxes, [.readFile])
        sandbox.allow(home.trigger, [.readFile, .writeFile])
        for sentence in try sandbox.lock() { Log.warning("unprotected", .text("reason", sentence)) }
    }
}
