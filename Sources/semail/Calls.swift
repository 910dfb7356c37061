// The few calls that Unix has no words for.
import Glibc
import Unix

extension Path {
    /// The working directory.
    static var current: String {
        guard let path = getcwd(nil, 0) else { return "." }
        defer { free(path) }
        return String(cString: path)
    }
}

extension IO {
    static func isTerminal(_ raw: Int32) -> Bool { isatty(raw) == 1 }

    /// Of a directory by its path, links followed.
    static func status(ofDirectory path: String) throws(SystemError) -> Status {
        let directory = try Directory(searching: path)
        return try status(directory.descriptor.raw)
    }

    /// What can be read now, in one piece.
    static func readSome(_ raw: Int32, limit: Int) throws(SystemError) -> [UInt8] {
        var count = 0
        var failure: SystemError?
        let bytes = [UInt8](unsafeUninitializedCapacity: limit) { buffer, used in
            do throws(SystemError) { count = try read(raw, into: UnsafeMutableRawBufferPointer(buffer)) } catch { failure = error }
            used = count
        }
        if let failure { throw failure }
        return bytes
    }
}

extension IO {
    /// What a file has that somebody names: `-` is standard input, and it may be a pipe.
    static func contents(named file: String, limit: Int) throws(SystemError) -> [UInt8] {
        if file == "-" { return try readToEnd(Descriptor.standardInput, limit: limit) }
        let opened = try Path.openReading(file)
        return try readToEnd(opened.raw, limit: limit)
    }

    /// Everything up to the end, for pipes and terminals as well; what goes beyond `limit` is an error.
    static func readToEnd(_ raw: Int32, limit: Int) throws(SystemError) -> [UInt8] {
        var bytes: [UInt8] = []
        while true {
            let more = try readSome(raw, limit: 65536)
            if more.isEmpty { return bytes }
            bytes += more
            if bytes.count > limit { throw SystemError("read", code: EFBIG) }
        }
    }
}
