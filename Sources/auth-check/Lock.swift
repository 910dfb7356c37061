// What auth-check may still do when it reads the question: count, wait for one child, and kill that one.
import Program
import Unix

enum Lock {
    static func lock(_ guesses: String, killing child: Int32) throws {
        try Sandbox.limit(.coreOctets, to: 0)
        var sandbox = Sandbox()
        sandbox.allow(.openat, .newfstatat, .unlinkat, .getdents64, .flock, .pread64, .pwrite64, .fcntl, .poll, .ppoll, .clock_nanosleep)
        sandbox.allowKilling(child)
        sandbox.allow(guesses, [.readDirectory, .readFile, .writeFile, .makeFile, .removeFile])
        for sentence in try sandbox.lock() { Log.warning("unprotected", .text("reason", sentence)) }
    }
}
