// What the checks ask of the operating system: devices, a port, names.
import Glibc
import Unix

enum DeviceNumber {
    static func of(_ path: String) throws(SystemError) -> UInt64 {
        var result = stat()
        if stat(path, &result) < 0 { throw SystemError("stat", path) }
        return UInt64(result.st_dev)
    }
}

enum Connection {
    /// What the server at a port of this host says first; empty: it says nothing. nil: nobody is there.
    static func firstLine(port: UInt16, milliseconds: Int) -> String? {
        let raw = socket(AF_INET, Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue), 0)
        guard raw >= 0 else { return nil }
        let connection = Descriptor(owning: raw)
        var address = sockaddr_in()
        address.sin_family = sa_family_t(AF_INET)
        address.sin_port = port.bigEndian
        address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
        let result = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(connection.raw, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
        }
        guard result == 0 else { return nil }
        guard (try? IO.wait(connection.raw, forWriting: false, milliseconds: milliseconds)) == true,
              let bytes = try? IO.readSome(connection.raw, limit: 1024) else { return "" }
        // A session that ends without QUIT is an error in the log, and in the sender's statistics.
        try? IO.writeAll(connection.raw, Array("QUIT\r\n".utf8))
        return String(decoding: bytes.prefix { $0 != 13 && $0 != 10 }, as: UTF8.self)
    }
}

enum Lookup {
    static func addresses(of name: String) -> [String] {
        // A resolver that is away must not keep the doctor for a minute.
        setenv("RES_OPTIONS", "timeout:2 attempts:1", 0)
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(name, nil, &hints, &list) == 0 else { return [] }
        defer { freeaddrinfo(list) }
        var result: [String] = []
        var next = list
        while let entry = next {
            if let text = text(entry.pointee.ai_addr, entry.pointee.ai_addrlen), !result.contains(text) { result.append(text) }
            next = entry.pointee.ai_next
        }
        return result
    }

    static func ownAddresses() -> Set<String> {
        var list: UnsafeMutablePointer<ifaddrs>?
        guard getifaddrs(&list) == 0 else { return [] }
        defer { freeifaddrs(list) }
        var result: Set<String> = []
        var next = list
        while let entry = next {
            if let address = entry.pointee.ifa_addr {
                let length = switch Int32(address.pointee.sa_family) {
                case AF_INET: MemoryLayout<sockaddr_in>.size
                case AF_INET6: MemoryLayout<sockaddr_in6>.size
                default: 0
                }
                if length > 0, let text = text(address, socklen_t(length)) { result.insert(text) }
            }
            next = entry.pointee.ifa_next
        }
        return result
    }

    private static func text(_ address: UnsafePointer<sockaddr>, _ length: socklen_t) -> String? {
        var buffer = [CChar](repeating: 0, count: 256)
        guard getnameinfo(address, length, &buffer, socklen_t(buffer.count), nil, 0, NI_NUMERICHOST) == 0 else { return nil }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
