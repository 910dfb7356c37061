// Directories held open: every file is reached relative to one, so that no path can be swapped underneath.
import CUnix
import Glibc

/// An open directory.
public struct Directory: ~Copyable {
    public let descriptor: Descriptor
    /// For messages only.
    public let path: String

    public init(_ path: String) throws(SystemError) {
        let raw = cunix_openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY, 0)
        if raw < 0 { throw SystemError("open", path) }
        descriptor = Descriptor(owning: raw)
        self.path = path
    }

    /// A directory that may be searched but not listed (mode --x): O_PATH is all one can have of it, and enough.
    public init(searching path: String) throws(SystemError) {
        let raw = cunix_open_for_searching(path)
        if raw < 0 { throw SystemError("open", path) }
        descriptor = Descriptor(owning: raw)
        self.path = path
    }

    init(owning raw: Int32, path: String) {
        descriptor = Descriptor(owning: raw)
        self.path = path
    }

    /// A directory within this one; its last step is never a symbolic link.
    public func directory(_ inner: String) throws(SystemError) -> Directory {
        let raw = cunix_openat(descriptor.raw, inner, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0)
        if raw < 0 { throw SystemError("open", path + "/" + inner) }
        return Directory(owning: raw, path: path + "/" + inner)
    }

    public enum Access { case read, readWrite, readWriteOrCreate, append, writeOnlyNonblocking }

    public func open(_ name: String, _ access: Access = .read) throws(SystemError) -> Descriptor {
        let flags = switch access {
        case .read: O_RDONLY | O_NOFOLLOW
        case .readWrite: O_RDWR | O_NOFOLLOW
        case .readWriteOrCreate: O_RDWR | O_CREAT | O_NOFOLLOW
        case .append: O_WRONLY | O_CREAT | O_APPEND | O_NOFOLLOW
        case .writeOnlyNonblocking: O_WRONLY | O_NONBLOCK | O_NOFOLLOW
        }
        let raw = cunix_openat(descriptor.raw, name, flags, 0o640)
        if raw < 0 { throw SystemError("open", path + "/" + name) }
        return Descriptor(owning: raw)
    }

    /// A new file under a name that must not exist yet.
    public func create(_ name: String, mode: UInt32) throws(SystemError) -> Descriptor {
        let raw = cunix_openat(descriptor.raw, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW, mode)
        if raw < 0 { throw SystemError("create", path + "/" + name) }
        return Descriptor(owning: raw)
    }

    /// A new file without a name: it vanishes unless `link` gives it one.
    public func createUnnamed(mode: UInt32) throws(SystemError) -> Descriptor {
        let raw = cunix_open_unnamed(descriptor.raw, mode)
        if raw < 0 { throw SystemError("create", path) }
        return Descriptor(owning: raw)
    }

    public func link(_ file: borrowing Descriptor, as name: String) throws(SystemError) {
        let raw = file.raw
        try check("link", path + "/" + name) { cunix_link_open_file(raw, descriptor.raw, name) }
    }

    public func rename(_ name: String, to target: borrowing Directory, as newName: String? = nil) throws(SystemError) {
        let targetRaw = target.descriptor.raw
        try check("rename", path + "/" + name) { renameat(descriptor.raw, name, targetRaw, newName ?? name) }
    }

    /// As `rename`, but fails where the new name exists already.
    public func renameNew(_ name: String, to target: borrowing Directory, as newName: String) throws(SystemError) {
        let targetRaw = target.descriptor.raw
        try check("rename", path + "/" + name) { cunix_rename_new(descriptor.raw, name, targetRaw, newName) }
    }

    public func remove(_ name: String) throws(SystemError) {
        try check("unlink", path + "/" + name) { unlinkat(descriptor.raw, name, 0) }
    }

    public func removeDirectory(_ name: String) throws(SystemError) {
        try check("rmdir", path + "/" + name) { unlinkat(descriptor.raw, name, AT_REMOVEDIR) }
    }

    public func makeDirectory(_ name: String, mode: UInt32) throws(SystemError) {
        try check("mkdir", path + "/" + name) { mkdirat(descriptor.raw, name, mode) }
    }

    public func status(_ name: String) throws(SystemError) -> IO.Status {
        var result = stat()
        try check("stat", path + "/" + name) { fstatat(descriptor.raw, name, &result, AT_SYMLINK_NOFOLLOW) }
        return IO.Status(result)
    }

    /// The names within it on stable storage.
    public func flush() throws(SystemError) { try IO.flush(descriptor.raw) }

    /// A small file as a whole; `limit` bounds what a stranger could have put there.
    public func contents(_ name: String, limit: Int = 1 << 20) throws(SystemError) -> [UInt8] {
        let file = try open(name)
        return try IO.readAll(file.raw, limit: limit)
    }

    /// Replaces or makes a small file, so that readers see the old one or the new one, whole, also after a power cut.
    public func replace(_ name: String, with bytes: [UInt8], mode: UInt32) throws(SystemError) {
        let temporary = ".\(name).\(getpid())"
        try? remove(temporary)
        let file = try create(temporary, mode: mode)
        do throws(SystemError) {
            try IO.writeAll(file.raw, bytes)
            try IO.flush(file.raw)
            try file.close()
            try check("rename", path + "/" + name) { renameat(descriptor.raw, temporary, descriptor.raw, name) }
            try flush()
        } catch {
            try? remove(temporary)
            throw error
        }
    }

    /// Where a symbolic link leads, as it is written there.
    public func linkTarget(_ name: String) throws(SystemError) -> [UInt8] {
        var buffer = [UInt8](repeating: 0, count: 1024)
        let count = try check("readlink", path + "/" + name) { buffer.withUnsafeMutableBytes { readlinkat(descriptor.raw, name, $0.baseAddress!, $0.count) } }
        return Array(buffer[..<count])
    }

    /// Makes or replaces a symbolic link in one step.
    public func replaceLink(_ name: String, to target: String) throws(SystemError) {
        let temporary = ".\(name).\(getpid())"
        try? remove(temporary)
        try check("symlink", path + "/" + name) { symlinkat(target, descriptor.raw, temporary) }
        try check("rename", path + "/" + name) { renameat(descriptor.raw, temporary, descriptor.raw, name) }
    }

    /// Starts reading the names.
    public func list() throws(SystemError) -> Listing { Listing(try openStream()) }

    /// Whoever reads it closes it.
    func openStream() throws(SystemError) -> OpaquePointer {
        let raw = cunix_openat(descriptor.raw, ".", O_RDONLY | O_DIRECTORY, 0)
        if raw < 0 { throw SystemError("open", path) }
        guard let stream = fdopendir(raw) else {
            let failure = SystemError("opendir", path)
            close(raw)
            throw failure
        }
        return stream
    }

    /// All names at once, sorted: for directories that are known to be small.
    public func names() throws(SystemError) -> [String] {
        let listing = try list()
        var result: [String] = []
        while let name = listing.next() { result.append(name) }
        return result.sorted()
    }
}

/// The names in a directory, one at a time: a directory of a million files costs no memory.
public final class Listing {
    private let stream: OpaquePointer

    init(_ stream: OpaquePointer) { self.stream = stream }
    deinit { closedir(stream) }

    /// The next name that does not begin with a dot; nil at the end.
    public func next() -> String? {
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { bytes in
                String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
            }
            if !name.hasPrefix(".") { return name }
        }
        return nil
    }
}

/// Room on the file system that holds a path.
public struct Space: Sendable {
    public let freeOctets: UInt64
    public let totalOctets: UInt64
    public let freeInodes: UInt64
    public let isReadOnly: Bool

    public init(of path: String) throws(SystemError) {
        var space = cunix_space()
        if cunix_space(path, &space) < 0 { throw SystemError("statvfs", path) }
        freeOctets = space.free_octets
        totalOctets = space.total_octets
        freeInodes = space.free_inodes
        isReadOnly = space.is_read_only != 0
    }
}

/// Paths, for the places where a program begins.
public enum Path {
    public static func exists(_ path: String) -> Bool { access(path, F_OK) == 0 }

    public static func makeDirectory(_ path: String, mode: UInt32) throws(SystemError) {
        if mkdir(path, mode) < 0, errno != EEXIST { throw SystemError("mkdir", path) }
    }

    public static func makePipe(_ path: String, mode: UInt32) throws(SystemError) {
        if mkfifo(path, mode) < 0, errno != EEXIST { throw SystemError("mkfifo", path) }
    }

    public static func setMode(_ path: String, _ mode: UInt32) throws(SystemError) {
        if chmod(path, mode) < 0 { throw SystemError("chmod", path) }
    }

    public static func setOwner(_ path: String, uid: UInt32, gid: UInt32) throws(SystemError) {
        if lchown(path, uid, gid) < 0 { throw SystemError("chown", path) }
    }

    public static func contents(_ path: String, limit: Int = 1 << 20) throws(SystemError) -> [UInt8] {
        let file = try openReading(path)
        return try IO.readAll(file.raw, limit: limit)
    }

    public static func openReading(_ path: String) throws(SystemError) -> Descriptor {
        let raw = cunix_openat(AT_FDCWD, path, O_RDONLY, 0)
        if raw < 0 { throw SystemError("open", path) }
        return Descriptor(owning: raw)
    }

    /// Opens for reading and writing whatever is there; a FIFO opened so has a writer for ever and never ends.
    public static func openReadWrite(_ path: String) throws(SystemError) -> Descriptor {
        let raw = cunix_openat(AT_FDCWD, path, O_RDWR | O_NONBLOCK, 0)
        if raw < 0 { throw SystemError("open", path) }
        return Descriptor(owning: raw)
    }
}
