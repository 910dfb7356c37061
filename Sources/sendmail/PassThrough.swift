// -bs: the caller speaks SMTP with the service, and nothing between them has a say.
import Unix

enum PassThrough {
    private static let endSeconds = 300

    static func run(_ socket: borrowing Descriptor) throws {
        var isOpen = true
        // RFC 5321 3.1: the client waits for the greeting. One whose commands are in a file cannot.
        var isGreeted = false
        // A caller that types ends lines with LF, and the service wants CR LF; the first line tells.
        var translates: Bool?
        var last: UInt8 = 0
        while true {
            let isAsking = isOpen && isGreeted
            let ready = try IO.waitReadable(isAsking ? [socket.raw, Descriptor.standardInput] : [socket.raw], milliseconds: isAsking ? nil : endSeconds * 1000)
            guard let ready else { if isAsking { continue } else { return } }
            if ready[0] {
                let bytes = try IO.readSome(socket.raw, limit: 65536)
                if bytes.isEmpty { return }
                isGreeted = true
                try IO.writeAll(Descriptor.standardOutput, bytes)
            }
            if isAsking, ready[1] {
                let bytes = try IO.readSome(Descriptor.standardInput, limit: 65536)
                if bytes.isEmpty {
                    isOpen = false
                    Socket.endWriting(socket.raw)
                    continue
                }
                if translates == nil, let end = bytes.firstIndex(of: 0x0a) { translates = (end > 0 ? bytes[end - 1] : last) != 0x0d }
                var said: [UInt8] = []
                if translates == true {
                    for byte in bytes {
                        if byte == 0x0a, last != 0x0d { said.append(0x0d) }
                        said.append(byte)
                        last = byte
                    }
                } else {
                    said = bytes
                    last = bytes[bytes.count - 1]
                }
                try IO.writeAll(socket.raw, said)
            }
        }
    }
}
