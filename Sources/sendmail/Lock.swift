// What sendmail may still do when it reads the message: connect to a unix socket, and talk.
import Program
import Unix

enum Lock {
    static func lock() throws {
        try Sandbox.limit(.coreOctets, to: 0)
        var sandbox = Sandbox()
        sandbox.allowLocalConnecting()
        sandbox.allow(.poll, .ppoll, .shutdown, .fcntl)
        // A kernel without one of the doors is nothing to tell a user at each message.
        _ = try sandbox.lock()
    }
}
