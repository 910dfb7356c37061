// Everything in a directory that strangers fill: names are octets and need be no text, begin with dots, and may be anything but files.
// Nothing here follows a link or waits for the other end of a FIFO.
import CUnix
import Glibc

/// The entries of a directory, one at a time: a directory of a million files costs no memory.
public final class EntryList {
    public enum Kind: Sendable {
        case directory, file, other
        /// The file system does not tell here.
        case unknown
    }

    private let stream: OpaquePointer

    fileprivate init(_ stream: OpaquePointer) { self.stream = stream }
    deinit { closedir(stream) }

    /// nil at the end.
    public func next() -> (name: [UInt8], kind: Kind)? {
        while let entry = readdir(stream) {
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
            if name == [0x2e] || name == [0x2e, 0x2e] { continue }
            let kind: Kind = switch Int(entry.pointee.d_type) {
            case 4: .directory
            case 8: .file
            case 0: .unknown
            default: .other
            }
            return (name, kind)
        }
        return nil
    }
}

extension Directory {
    public func entries() throws(SystemError) -> EntryList { EntryList(try openStream()) }

    /// A file's status, or a link's own.
    public func status(named name: [UInt8]) throws(SystemError) -> IO.Status {
        var result = stat()
        try check("stat", path) { withName(name) { fstatat(descriptor.raw, $0, &result, AT_SYMLINK_NOFOLLOW) } }
        return IO.Status(result)
    }

    public func directory(named name: [UInt8]) throws(SystemError) -> Directory {
        let raw = withName(name) { cunix_openat(descriptor.raw, $0, O_RDONLY | O_DIRECTORY | O_NOFOLLOW, 0) }
        let path = self.path + "/" + String(decoding: name, as: UTF8.self)
        if raw < 0 { throw SystemError("open", path) }
        return Directory(owning: raw, path: path)
    }

    /// A file to read; nil: it is none.
    public func file(named name: [UInt8]) throws(SystemError) -> Descriptor? {
        let raw = withName(name) { cunix_openat(descriptor.raw, $0, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, 0) }
        if raw < 0 {
            // A link, a socket.
            if errno == ELOOP || errno == ENXIO { return nil }
            throw SystemError("open", path + "/" + String(decoding: name, as: UTF8.self))
        }
        let file = Descriptor(owning: raw)
        guard try IO.status(file.raw).isRegular else { return nil }
        return file
    }

    private func withName<Result>(_ name: [UInt8], _ body: (UnsafePointer<CChar>) -> Result) -> Result {
        (name + [0]).withUnsafeBufferPointer { octets in octets.withMemoryRebound(to: CChar.self) { body($0.baseAddress!) } }
    }
}

extension IO {
    /// As `copy`, at most `most` octets: what a file has grown by meanwhile stays behind.
    public static func copy(from source: Int32, to target: Int32, most: Int) throws(SystemError) -> Int {
        var total = 0
        while total < most {
            let count = sendfile(target, source, nil, min(most - total, 0x7fff_f000))
            if count > 0 { total += count; continue }
            if count == 0 { break }
            let code = errno
            if code == EINTR { continue }
            guard code == EINVAL || code == ENOSYS else { throw SystemError("sendfile", code: code) }
            let piece = try readSome(source, limit: min(most - total, 65536))
            if piece.isEmpty { break }
            try writeAll(target, piece)
            total += piece.count
        }
        return total
    }
}
