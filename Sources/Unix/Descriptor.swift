// Open files that have one owner each. Every one is close-on-exec from birth.
import CUnix
import Glibc

/// The sole owner of an open descriptor. A file that was written is closed with `close()`, which can
/// report a late error; `deinit` is only the safety net.
public struct Descriptor: ~Copyable {
    /// The number, for as long as the owner lives.
    public let raw: Int32

    public init(owning raw: Int32) { self.raw = raw }

    deinit { _ = Glibc.close(raw) }

    public consuming func close() throws(SystemError) {
        let raw = self.raw
        discard self
        // Not repeated on EINTR: on Linux the descriptor is gone then.
        if Glibc.close(raw) < 0, errno != EINTR { throw SystemError("close") }
    }

    /// Gives up ownership; the receiver closes it.
    public consuming func release() -> Int32 {
        let raw = self.raw
        discard self
        return raw
    }

    public func duplicate() throws(SystemError) -> Descriptor {
        Descriptor(owning: try check("dup") { fcntl(raw, F_DUPFD_CLOEXEC, 3) })
    }

    /// Room in a pipe; as much as the kernel grants.
    public func setPipeSize(_ octets: Int) { _ = cunix_set_pipe_size(raw, Int32(octets)) }

    public static let standardInput: Int32 = 0
    public static let standardOutput: Int32 = 1
    public static let standardError: Int32 = 2

    /// A pipe: what is written to `writing` is read from `reading`.
    public static func pipe() throws(SystemError) -> Pair {
        var ends: [Int32] = [-1, -1]
        if cunix_pipe(&ends) < 0 { throw SystemError("pipe") }
        return Pair(first: Descriptor(owning: ends[0]), second: Descriptor(owning: ends[1]))
    }

    /// The two ends of a pipe (reading first) or of a socket pair.
    public struct Pair: ~Copyable {
        public let first: Descriptor
        public let second: Descriptor

        /// Keeps the first end and closes the second.
        public consuming func takeFirst() -> Descriptor { first }

        /// Keeps the second end and closes the first.
        public consuming func takeSecond() -> Descriptor { second }
    }
}

/// Reading and writing by number, for descriptors that somebody else owns (standard input and output among them).
public enum IO {
    /// Up to `buffer.count` octets; 0 at the end.
    public static func read(_ raw: Int32, into buffer: UnsafeMutableRawBufferPointer) throws(SystemError) -> Int {
        try check("read") { Glibc.read(raw, buffer.baseAddress, buffer.count) }
    }

    /// What is there, at most `limit` octets; empty at the end.
    public static func readSome(_ raw: Int32, limit: Int) throws(SystemError) -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: limit)
        let count = try check("read") { buffer.withUnsafeMutableBytes { Glibc.read(raw, $0.baseAddress, $0.count) } }
        return Array(buffer[..<count])
    }

    /// What comes from a non-blocking descriptor until it ends, is enough, is too much, or the time is over.
    public static func readWithin(_ raw: Int32, limit: Int, milliseconds: Int, isEnough: ([UInt8]) -> Bool = { _ in false }) throws(SystemError) -> [UInt8] {
        let end = Clock.monotonicMilliseconds() + milliseconds
        var bytes: [UInt8] = []
        while bytes.count < limit, !isEnough(bytes), case let left = end - Clock.monotonicMilliseconds(), left > 0,
              try wait(raw, forWriting: false, milliseconds: left) {
            let more = try readSome(raw, limit: limit - bytes.count)
            if more.isEmpty { break }
            bytes += more
        }
        return bytes
    }

    /// All of it, however many calls that takes.
    public static func writeAll(_ raw: Int32, _ bytes: UnsafeRawBufferPointer) throws(SystemError) {
        var done = 0
        while done < bytes.count {
            done += try check("write") { Glibc.write(raw, bytes.baseAddress! + done, bytes.count - done) }
        }
    }

    public static func writeAll(_ raw: Int32, _ bytes: [UInt8]) throws(SystemError) {
        var failure: SystemError?
        bytes.withUnsafeBytes { span in
            do throws(SystemError) { try writeAll(raw, span) } catch { failure = error }
        }
        if let failure { throw failure }
    }

    /// All of it to a non-blocking descriptor, waiting at most so long each time the other end takes nothing.
    public static func writeAll(_ raw: Int32, _ bytes: [UInt8], idleMilliseconds: Int) throws(SystemError) {
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes { Glibc.write(raw, $0.baseAddress! + done, $0.count - done) }
            if count >= 0 { done += count; continue }
            let code = errno
            if code == EINTR { continue }
            guard code == EAGAIN else { throw SystemError("write", code: code) }
            guard try wait(raw, forWriting: true, milliseconds: idleMilliseconds) else { throw SystemError("write", code: ETIMEDOUT) }
        }
    }

    public static func write(_ raw: Int32, _ bytes: [UInt8], at offset: Int) throws(SystemError) {
        let count = try check("pwrite") { bytes.withUnsafeBytes { pwrite(raw, $0.baseAddress, $0.count, off_t(offset)) } }
        if count != bytes.count { throw SystemError("pwrite", code: ENOSPC) }
    }

    /// The whole file from `offset` on, at most `limit` octets.
    public static func readAll(_ raw: Int32, from offset: Int = 0, limit: Int) throws(SystemError) -> [UInt8] {
        var result: [UInt8] = []
        var failure: SystemError?
        // One allocation of the file's own size where it is known, so that small files cost one read.
        let expected = min(limit, max(512, (try? status(raw).size) ?? 0) + 1)
        while result.count < limit {
            let room = min(limit - result.count, result.isEmpty ? expected : 65536)
            let had = result.count
            result.append(contentsOf: [UInt8](unsafeUninitializedCapacity: room) { buffer, count in
                do throws(SystemError) {
                    count = try check("pread") { pread(raw, buffer.baseAddress, room, off_t(offset + had)) }
                } catch { failure = error; count = 0 }
            })
            if let failure { throw failure }
            if result.count - had < room { break }
        }
        return result
    }

    /// Makes a file so large; what was not written reads as zeros and takes no room.
    public static func setSize(_ raw: Int32, _ octets: Int) throws(SystemError) {
        try check("ftruncate") { ftruncate(raw, off_t(octets)) }
    }

    /// Octets waiting to be read, without reading them.
    public static func waiting(_ raw: Int32) -> Int { Int(max(0, cunix_bytes_waiting(raw))) }

    public static func seek(_ raw: Int32, to offset: Int) throws(SystemError) {
        try check("lseek") { lseek(raw, off_t(offset), SEEK_SET) }
    }

    /// Copies from the current position of `source` to its end, by the kernel where it can. Returns the octets copied.
    public static func copy(from source: Int32, to target: Int32) throws(SystemError) -> Int {
        var total = 0
        while true {
            let count = sendfile(target, source, nil, 0x7fff_f000)
            if count > 0 { total += count; continue }
            if count == 0 { return total }
            let code = errno
            if code == EINTR { continue }
            if code == EINVAL || code == ENOSYS { return total + (try copyByHand(from: source, to: target)) }
            throw SystemError("sendfile", code: code)
        }
    }

    /// For sources that sendfile does not take: pipes, terminals.
    private static func copyByHand(from source: Int32, to target: Int32) throws(SystemError) -> Int {
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 65536, alignment: 16)
        defer { buffer.deallocate() }
        var total = 0
        while true {
            let count = try read(source, into: buffer)
            if count == 0 { return total }
            try writeAll(target, UnsafeRawBufferPointer(rebasing: buffer[..<count]))
            total += count
        }
    }

    /// File and the metadata needed to read it again on stable storage.
    public static func flush(_ raw: Int32) throws(SystemError) {
        try check("fsync") { fsync(raw) }
    }

    /// Has the disk begin to write what was handed to it so far; promises nothing.
    public static func beginWriting(_ raw: Int32) { cunix_begin_writing(raw) }

    public struct Status: Sendable {
        public let size: Int
        public let uid: UInt32
        public let gid: UInt32
        /// Permission bits only.
        public let mode: UInt32
        public let isDirectory: Bool
        public let isRegular: Bool
        /// Seconds since 1970 of the last change of content.
        public let modified: Int
        public let inode: UInt64
        /// Nanoseconds since 1970 of the last change of content or attributes.
        public let changedNanoseconds: Int

        init(_ raw: stat) {
            size = Int(raw.st_size)
            uid = raw.st_uid
            gid = raw.st_gid
            mode = raw.st_mode & 0o7777
            isDirectory = raw.st_mode & S_IFMT == S_IFDIR
            isRegular = raw.st_mode & S_IFMT == S_IFREG
            modified = raw.st_mtim.tv_sec
            inode = UInt64(raw.st_ino)
            changedNanoseconds = raw.st_ctim.tv_sec * 1_000_000_000 + raw.st_ctim.tv_nsec
        }
    }

    public static func status(_ raw: Int32) throws(SystemError) -> Status {
        var result = stat()
        try check("fstat") { fstat(raw, &result) }
        return Status(result)
    }

    public static func setOwner(_ raw: Int32, uid: UInt32, gid: UInt32) throws(SystemError) {
        try check("fchown") { fchown(raw, uid, gid) }
    }

    /// Waits until one of the descriptors can be read. Returns which; nil when the time is over.
    public static func waitReadable(_ raws: [Int32], milliseconds: Int?) throws(SystemError) -> [Bool]? {
        var polls = raws.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        return try wait(&polls, milliseconds: milliseconds)
    }

    private static func wait(_ polls: inout [pollfd], milliseconds: Int?) throws(SystemError) -> [Bool]? {
        let count = poll(&polls, nfds_t(polls.count), Int32(clamping: milliseconds ?? -1))
        if count < 0 {
            if errno == EINTR { return nil }
            throw SystemError("poll")
        }
        return count == 0 ? nil : polls.map { $0.revents != 0 }
    }

    /// As above, and for one descriptor more: whether its other end is closed, or, if `readable`, whether it can be read.
    public static func waitReadable(_ raws: [Int32], orClosed last: Int32, readable: Bool, milliseconds: Int?) throws(SystemError) -> [Bool]? {
        var polls = raws.map { pollfd(fd: $0, events: Int16(POLLIN), revents: 0) }
        polls.append(pollfd(fd: last, events: readable ? Int16(POLLIN) : 0, revents: 0))
        return try wait(&polls, milliseconds: milliseconds)
    }

    /// As above for one descriptor, also for writing.
    public static func wait(_ raw: Int32, forWriting: Bool, milliseconds: Int?) throws(SystemError) -> Bool {
        var one = pollfd(fd: raw, events: Int16(forWriting ? POLLOUT : POLLIN), revents: 0)
        return try check("poll") { poll(&one, 1, Int32(clamping: milliseconds ?? -1)) } > 0
    }
}
