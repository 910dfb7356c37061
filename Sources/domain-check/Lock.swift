// What domain-check may still do once it asks: read its standard input, ask, and answer. It can open no file.
import Program
import Unix

enum Lock {
    static func lock() throws {
        try Sandbox.limit(.coreOctets, to: 0)
        try Sandbox.limit(.descriptors, to: 64)
        try Sandbox.limit(.memoryOctets, to: 256 << 20)
        var sandbox = Sandbox()
        sandbox.allowConnecting()
        sandbox.allow(.newfstatat, .recvmsg, .sendmsg)
        for sentence in try sandbox.lock() { Log.warning("unprotected", .text("reason", sentence)) }
    }
}
