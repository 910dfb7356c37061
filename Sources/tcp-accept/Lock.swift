// What tcp-accept may still do when a template does the starting: accept, hand over, hang up.
import Program
import Unix

enum Lock {
    static func lock() throws {
        try Sandbox.limit(.coreOctets, to: 0)
        var sandbox = Sandbox()
        sandbox.allow(.accept4, .getsockname, .getsockopt, .sendmsg, .recvmsg, .sendto, .poll, .ppoll, .shutdown, .wait4, .fcntl, .clock_nanosleep)
        for sentence in try sandbox.lock() { Log.warning("unprotected", .text("reason", sentence)) }
    }
}
