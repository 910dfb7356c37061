// What carrying octets from one stream to another needs: two connected ends, and waiting for several descriptors at once.
import Glibc

extension Socket {
    /// Two ends of a connection within this host: what is written to one is read from the other.
    public static func streamPair() throws(SystemError) -> Descriptor.Pair {
        var ends: [Int32] = [-1, -1]
        let kind = Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        try check("socketpair") { socketpair(AF_UNIX, kind, 0, &ends) }
        return Descriptor.Pair(first: Descriptor(owning: ends[0]), second: Descriptor(owning: ends[1]))
    }
}

/// What is waited for at one descriptor.
public struct Interest: Sendable {
    let raw: Int32
    let forReading: Bool
    let forWriting: Bool

    public init(_ raw: Int32, forReading: Bool, forWriting: Bool) {
        self.raw = raw
        self.forReading = forReading
        self.forWriting = forWriting
    }
}

extension IO {
    /// As many of the octets as a descriptor that does not block takes; EAGAIN: none now.
    public static func writeSome(_ raw: Int32, _ bytes: UnsafeRawBufferPointer) throws(SystemError) -> Int {
        try check("write") { Glibc.write(raw, bytes.baseAddress, bytes.count) }
    }

    /// Waits until something that is waited for can be done, or has failed: the call itself tells which. False: the time is over.
    public static func wait(_ interests: [Interest], milliseconds: Int?) throws(SystemError) -> Bool {
        var polls = interests.map { interest in
            let events = (interest.forReading ? POLLIN : 0) | (interest.forWriting ? POLLOUT : 0)
            // The kernel tells of a connection that broke whether asked or not: who wants nothing of it now could not even find out.
            return pollfd(fd: events == 0 ? -1 : interest.raw, events: Int16(events), revents: 0)
        }
        return try check("poll") { poll(&polls, nfds_t(polls.count), Int32(clamping: milliseconds ?? -1)) } > 0
    }
}
