// How many messages there are, told from their names where those tell.
import Unix

struct Counter: Visitor {
    private var new = 0
    private var cur = 0
    private var newest = 0
    private var octets = 0

    /// A line each.
    var text: [UInt8] { Array("new \(new)\ncur \(cur)\nnewest \(newest)\noctets \(octets)\n".utf8) }

    mutating func visit(directory path: [UInt8], modified: Int) {}
    mutating func visit(file: borrowing Descriptor, path: [UInt8]) {}

    mutating func takes(unopened message: Message) -> Bool {
        guard let seconds = message.seconds, let octets = message.octets else { return false }
        count(message, seconds: seconds, octets: octets)
        return true
    }

    mutating func visit(message: Message, _ file: borrowing Descriptor) throws -> Int {
        let status = try IO.status(file.raw)
        count(message, seconds: message.seconds ?? status.modified, octets: status.size)
        return status.size
    }

    private mutating func count(_ message: Message, seconds: Int, octets: Int) {
        if message.isNew { new += 1 } else { cur += 1 }
        newest = max(newest, seconds)
        // A name may claim anything.
        self.octets = min(self.octets + octets, 1 << 60)
    }
}
