// Waiting for a directory to change, without looking at it again and again.
import Glibc

/// Becomes readable when names come into a directory.
public struct Watch: ~Copyable {
    public let descriptor: Descriptor

    public init(_ directory: borrowing Directory) throws(SystemError) {
        let raw = inotify_init1(Int32(IN_CLOEXEC | IN_NONBLOCK))
        if raw < 0 { throw SystemError("inotify_init") }
        let descriptor = Descriptor(owning: raw)
        let path = directory.path
        try check("inotify_add_watch", path) { inotify_add_watch(raw, path, UInt32(IN_MOVED_TO) | UInt32(IN_CREATE)) }
        self.descriptor = descriptor
    }

    /// Forgets what has been told so far.
    public func clear() {
        while let more = try? IO.readSome(descriptor.raw, limit: 65536), !more.isEmpty {}
    }
}
