// The FIFO by which sessions tell the names of new messages, so that nobody has to look through the queue for them.
import Queue
import Unix

struct Trigger: ~Copyable {
    private let pipe: Descriptor
    private var rest: [UInt8] = []
    private let size = 1 << 20

    init(_ path: String) throws(SystemError) {
        // Opened for writing too, it never reads as ended when the last session goes.
        pipe = try Path.openReadWrite(path)
        pipe.setPipeSize(size)
    }

    var descriptor: Int32 { pipe.raw }

    /// The names that wait. `mayHaveMissed`: the pipe was so full that a session may have found no room for its name.
    mutating func read() -> (ids: [QueueID], mayHaveMissed: Bool) {
        let waiting = IO.waiting(pipe.raw)
        guard waiting > 0 else { return ([], false) }
        let room = min(waiting, 65536)
        var bytes = [UInt8](repeating: 0, count: room)
        let count = bytes.withUnsafeMutableBytes { (try? IO.read(pipe.raw, into: $0)) ?? 0 }
        let text = rest + bytes[..<count]
        var lines = text.split(separator: 10, omittingEmptySubsequences: false)
        rest = Array(lines.popLast() ?? [])
        if rest.count > 1000 { rest = [] }
        return (lines.compactMap { QueueID(String(decoding: $0, as: UTF8.self)) }, waiting > size / 2)
    }
}
