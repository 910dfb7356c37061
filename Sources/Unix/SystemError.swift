// What the kernel refused, and of what it was asked.
import CUnix
import Glibc

/// A failed system call: which one, on what, and its errno.
public struct SystemError: Error, Equatable {
    /// errno as it stood right after the call.
    public let code: Int32
    /// The call's name, for people: "open", "fsync".
    public let call: String
    /// What the call was about: a path, an address, a user; may be empty.
    public let subject: String

    public init(_ call: String, _ subject: String = "", code: Int32 = errno) {
        self.code = code
        self.call = call
        self.subject = subject
    }

    /// `open queue/new/x: Permission denied`
    public var text: String {
        let reason = String(cString: strerror(code))
        return subject.isEmpty ? "\(call): \(reason)" : "\(call) \(subject): \(reason)"
    }

    public var isMissing: Bool { code == ENOENT || code == ENOTDIR }
    public var isBrokenPipe: Bool { code == EPIPE || code == ECONNRESET }
    public var isExisting: Bool { code == EEXIST }
    public var isNotAllowed: Bool { code == EACCES || code == EPERM }
    public var isInUse: Bool { code == EADDRINUSE }
    public var isDenied: Bool { code == EACCES }
    public var wouldBlock: Bool { code == EAGAIN }
    /// No room: the disk is full, or the quota used up.
    public var isNoSpace: Bool { code == ENOSPC || code == EDQUOT }
    /// No process, descriptor or memory could be had: it may be otherwise in a moment.
    public var isShortage: Bool { code == EMFILE || code == ENFILE || code == ENOMEM || code == EAGAIN || code == ENOBUFS }
    /// A socket that nobody listens on.
    public var isRefused: Bool { code == ECONNREFUSED }
    public var isReadOnly: Bool { code == EROFS }
    public var isTooLong: Bool { code == ENAMETOOLONG }
    public var isTooLarge: Bool { code == EFBIG }
}

/// Calls again what a signal interrupted; throws what else went wrong.
@discardableResult
func check<Result: FixedWidthInteger>(
    _ call: String, _ subject: @autoclosure () -> String = "", _ body: () -> Result
) throws(SystemError) -> Result {
    while true {
        let result = body()
        if result >= 0 { return result }
        let code = errno
        if code != EINTR { throw SystemError(call, subject(), code: code) }
    }
}
