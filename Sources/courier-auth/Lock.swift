// What courier-auth may still do when it reads a request: look at mailboxes, and connect to a unix socket.
import Control
import Program
import Unix

enum Lock {
    static func lock(_ home: Home) throws {
        try Sandbox.limit(.coreOctets, to: 0)
        try Sandbox.limit(.descriptors, to: 64)
        var sandbox = Sandbox()
        sandbox.allow(.openat, .newfstatat, .pread64, .readlinkat, .getdents64, .fcntl, .poll, .ppoll, .shutdown)
        sandbox.allowLocalConnecting()
        sandbox.allow(home.mailboxes, [.readFile, .readDirectory])
        for sentence in try sandbox.lock() { Log.warning("unprotected", .text("reason", sentence)) }
    }
}
