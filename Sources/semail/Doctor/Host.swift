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

/// Where a server of this host listens.
enum Door {
    static func connect(address: String, port: UInt16, milliseconds: Int) -> Connection? {
        guard let address = NetworkAddress(text: address) else { return nil }
        var race = Race(port: port, milliseconds: milliseconds)
        return race.run([address])
    }

    /// What the server says first; empty: it says nothing. nil: nobody is there.
    static func firstLine(address: String, port: UInt16, milliseconds: Int) -> String? {
        guard let connection = connect(address: address, port: port, milliseconds: milliseconds) else { return nil }
        return firstLine(connection.descriptor.raw, milliseconds)
    }

    static func firstLine(path: String, milliseconds: Int) -> String? {
        guard let connection = try? Socket.connect(path: path) else { return nil }
        return firstLine(connection.raw, milliseconds)
    }

    private static func firstLine(_ connection: Int32, _ milliseconds: Int) -> String {
        guard (try? IO.wait(connection, forWriting: false, milliseconds: milliseconds)) == true,
              let bytes = try? IO.readSome(connection, limit: 1024) else { return "" }
        // A session that ends without QUIT is an error in the log, and in the sender's statistics.
        try? IO.writeAll(connection, Array("QUIT\r\n".utf8))
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

    /// The name that reverse DNS has for an address; nil: none.
    static func name(of address: String) -> String? {
        var hints = addrinfo()
        hints.ai_flags = AI_NUMERICHOST
        var list: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(address, nil, &hints, &list) == 0, let entry = list else { return nil }
        defer { freeaddrinfo(list) }
        var buffer = [CChar](repeating: 0, count: 1025)
        guard getnameinfo(entry.pointee.ai_addr, entry.pointee.ai_addrlen, &buffer, socklen_t(buffer.count), nil, 0, NI_NAMEREQD) == 0 else { return nil }
        return String(decoding: buffer.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
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
