// A message to send: its envelope, and a file from which others may be reading too.
import Mail
import Unix

struct Message {
    /// In the queue; empty by hand.
    let id: [UInt8]
    let envelope: Envelope
    /// What stands before the file's octets: a signature.
    let prefix: [UInt8]
    private let file: Int32
    /// Where the message begins; nil: a pipe, which can be read once.
    private let start: Int?
    /// Of prefix and message; nil: not known before it has been read.
    let size: Int?
    /// Whether somebody still waits for the outcome.
    let isWanted: () -> Bool

    init(id: [UInt8], envelope: Envelope, prefix: [UInt8], file: Int32, isWanted: @escaping () -> Bool) throws(SystemError) {
        self.isWanted = isWanted
        self.id = id
        self.envelope = envelope
        self.prefix = prefix
        self.file = file
        let status = try IO.status(file)
        start = status.isRegular ? IO.position(file) : nil
        size = start.map { prefix.count + max(0, status.size - $0) }
    }

    /// It can be sent a second time.
    var canRepeat: Bool { start != nil }

    /// Its octets after the prefix, from `offset` on; 0 at the end.
    func read(into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(SystemError) -> Int {
        guard let start, let size else { return try IO.read(file, into: buffer) }
        // Asked for no more than is there, a read need not be followed by one that finds the end.
        let left = size - prefix.count - offset
        guard left > 0 else { return 0 }
        return try IO.read(file, into: UnsafeMutableRawBufferPointer(rebasing: buffer[..<min(left, buffer.count)]), at: start + offset)
    }

    /// Whether the header section has octets beyond ASCII, which need SMTPUTF8 (RFC 6532). What cannot be read counts as if.
    var hasUTF8Header: Bool {
        guard canRepeat else { return true }
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 16384, alignment: 16)
        defer { buffer.deallocate() }
        var offset = 0
        var isEmptyLine = true
        while true {
            guard let count = try? read(into: buffer, at: offset) else { return true }
            if count == 0 { return false }
            for byte in buffer[..<count] {
                if byte >= 0x80 { return true }
                if byte == 0x0a {
                    if isEmptyLine { return false }
                    isEmptyLine = true
                } else if byte != 0x0d { isEmptyLine = false }
            }
            offset += count
        }
    }
}
