// Servers of the directory that let us wait lately, and are asked last for a while: one small file each, beside the counts of auth-check,
// whose user this is. Where that directory is not to be had, nothing is remembered, and each time begins anew.
import Unix

struct SilentServers {
    private static let seconds = 30

    /// run/guesses of the home.
    let directory: String

    func among(_ servers: [String]) -> [String] {
        guard servers.count > 1, let directory = try? Directory(searching: directory) else { return [] }
        let now = Clock.seconds()
        return servers.filter { server in
            guard let text = try? directory.contents(SilentServers.fileName(server), limit: 32) else { return false }
            // Seconds since 1970. What makes no sense is of no effect, and so is a time yet to come: clocks are set back.
            guard let since = Int(String(decoding: text.prefix { $0 != 0x0a }, as: UTF8.self)) else { return false }
            return 0..<SilentServers.seconds ~= now - since
        }
    }

    func remember(_ servers: [String]) {
        guard !servers.isEmpty, let directory = try? Directory(searching: directory) else { return }
        for server in servers {
            guard let file = try? directory.open(SilentServers.fileName(server), .readWriteOrCreate) else { continue }
            // Ten digits for some centuries: overwritten in place.
            try? IO.write(file.raw, Array("\(Clock.seconds())\n".utf8), at: 0)
        }
    }

    private static func fileName(_ server: String) -> String {
        let digits = Array("0123456789ABCDEF".utf8)
        var name = Array("silent-".utf8)
        for byte in server.utf8 {
            switch byte {
            case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x2d, 0x2e, 0x3a: name.append(byte)
            default: name += [0x25, digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return String(decoding: name.prefix(250), as: UTF8.self)
    }
}
