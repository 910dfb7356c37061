// What lies at a path, and calls on whole paths: links, exact modes, trees.
import Glibc

/// A directory entry as lstat tells it: a link is a link.
public struct Entry: Equatable, Sendable {
    public enum Kind: Equatable, Sendable {
        case directory, pipe, file
        case link(target: String)
        case other

        public var text: String {
            switch self {
            case .directory: "a directory"
            case .pipe: "a FIFO"
            case .file: "a file"
            case .link(let target): "a link to \(target)"
            case .other: "something else"
            }
        }
    }

    public let kind: Kind
    public let uid: UInt32
    public let gid: UInt32
    /// Permission bits only.
    public let mode: UInt32

    /// nil: nothing is there.
    public init?(_ path: String) throws(SystemError) {
        var result = stat()
        guard lstat(path, &result) == 0 else {
            let error = SystemError("stat", path)
            if error.isMissing { return nil }
            throw error
        }
        uid = result.st_uid
        gid = result.st_gid
        mode = result.st_mode & 0o7777
        kind = switch result.st_mode & S_IFMT {
        case S_IFDIR: .directory
        case S_IFIFO: .pipe
        case S_IFREG: .file
        case S_IFLNK: .link(target: Entry.target(path))
        default: .other
        }
    }

    private static func target(_ path: String) -> String {
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = buffer.withUnsafeMutableBytes { readlink(path, $0.baseAddress!, $0.count) }
        return String(decoding: buffer[..<max(0, count)], as: UTF8.self)
    }

    public static func makeLink(_ path: String, to target: String) throws(SystemError) {
        if symlink(target, path) < 0 { throw SystemError("symlink", path) }
    }

    /// A new file of just this mode and content, whatever the umask: named when it is whole and on stable storage. Fails if
    /// the name is taken. `owner`: root makes it for somebody else.
    public static func makeFile(
        _ name: String, in directory: borrowing Directory, with bytes: [UInt8], mode: UInt32, owner: (uid: UInt32, gid: UInt32)? = nil
    ) throws(SystemError) {
        let file = try directory.createUnnamed(mode: mode)
        if fchmod(file.raw, mode) < 0 { throw SystemError("chmod", directory.path + "/" + name) }
        if let owner { try IO.setOwner(file.raw, uid: owner.uid, gid: owner.gid) }
        try IO.writeAll(file.raw, bytes)
        try IO.flush(file.raw)
        try directory.link(file, as: name)
        try directory.flush()
        try file.close()
    }
}

/// Removing what a stranger may have filled.
public enum Tree {
    /// Removes an entry and all beneath it. Links are removed, never followed: nothing outside the tree can be hit, whoever
    /// owns it and whatever they do meanwhile.
    public static func remove(_ name: String, in parent: borrowing Directory) throws(SystemError) { try remove(name, in: parent, depth: 0) }

    private static func remove(_ name: String, in parent: borrowing Directory, depth: Int) throws(SystemError) {
        // Each level holds a descriptor and a piece of the stack.
        guard depth < 64 else { throw SystemError("remove", parent.path, code: ENAMETOOLONG) }
        let inner: Directory
        do throws(SystemError) { inner = try parent.directory(name) } catch {
            if error.code == ENOENT { return }
            guard error.code == ENOTDIR || error.code == ELOOP else { throw error }
            try parent.remove(name)
            return
        }
        try empty(inner, depth: depth)
        try parent.removeDirectory(name)
    }

    /// Dot files too, which Unix's own Listing passes over: a Maildir's folders begin with a dot.
    private static func empty(_ directory: borrowing Directory, depth: Int) throws(SystemError) {
        let raw = try directory.descriptor.duplicate().release()
        guard let stream = fdopendir(raw) else {
            close(raw)
            throw SystemError("opendir", directory.path)
        }
        defer { closedir(stream) }
        rewinddir(stream)
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
            if name != ".", name != ".." { try remove(name, in: directory, depth: depth + 1) }
        }
    }
}
