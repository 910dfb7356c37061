// A message from standard input, whole: the header section by itself, the rest as DATA takes it, lines ended by CR LF, dots stuffed.
import Mail
import Unix

struct Message {
    private static let mostHeader = 1 << 20

    var header = Header()
    private let body: Spool
    /// Of the body, as it will be stored.
    private(set) var octets = 0
    private(set) var is8Bit = false

    private init(_ body: Spool) { self.body = body }

    static func read(dotEnds: Bool, into spool: Spool) throws -> Message {
        var message = Message(spool)
        var lines = Lines(dotEnds: dotEnds)
        try message.readHeader(&lines)
        var block: [UInt8] = []
        block.reserveCapacity(70_000)
        while let line = try lines.next() {
            message.append(line, to: &block)
            if block.count > 65536 {
                try spool.append(block)
                block.removeAll(keepingCapacity: true)
            }
        }
        try spool.append(block)
        return message
    }

    /// The first line that is none of a header begins the body, as if there were an empty one before it.
    private mutating func readHeader(_ lines: inout Lines) throws {
        var octets = 0
        while let line = try lines.next() {
            let isFirst = octets == 0
            octets += line.octets.count + 1
            if octets > Message.mostHeader { throw Trouble("the header section is longer than a megabyte", .data) }
            if line.octets.isEmpty && line.isWhole { return }
            // What mbox files put between messages.
            if isFirst, line.octets.starts(with: Array("From ".utf8)), Header.name(line.octets) == nil { continue }
            // A line comes in pieces if it is long.
            var whole = line.octets
            var piece = line
            while !piece.isWhole, let more = try lines.next() {
                whole += more.octets
                if whole.count > Message.mostHeader { throw Trouble("the header section is longer than a megabyte", .data) }
                piece = more
            }
            guard header.take(whole + [0x0a]) else {
                var block: [UInt8] = []
                append(Lines.Piece(octets: whole, isStart: true, isWhole: true), to: &block)
                try body.append(block)
                return
            }
        }
    }

    private mutating func append(_ line: Lines.Piece, to block: inout [UInt8]) {
        if line.isStart, line.octets.first == 0x2e { block.append(0x2e) }
        block += line.octets
        if line.isWhole { block += [0x0d, 0x0a] }
        octets += line.octets.count + (line.isWhole ? 2 : 0)
        if !is8Bit, line.octets.contains(where: { $0 >= 0x80 }) { is8Bit = true }
    }

    private var headerText: [UInt8] {
        var text: [UInt8] = []
        for field in header.fields {
            for line in field.text.split(separator: 0x0a) { text += line + [0x0d, 0x0a] }
        }
        return text + [0x0d, 0x0a]
    }

    var size: Int { headerText.count + octets }

    /// As DATA takes it, its end included.
    func forEach(_ body: ([UInt8]) throws -> Void) throws {
        try body(headerText)
        try self.body.forEach(body)
        try body([0x2e, 0x0d, 0x0a])
    }
}

/// The lines of standard input, long ones in pieces, up to its end or a dot alone on a line.
struct Lines {
    struct Piece {
        /// Without the line end, LF or CR LF.
        let octets: [UInt8]
        let isStart: Bool
        /// The line ends here.
        let isWhole: Bool
    }

    private static let room = 65536

    private let dotEnds: Bool
    private var buffer: [UInt8] = []
    private var place = 0
    private var isAtStart = true
    private var hasEnded = false

    init(dotEnds: Bool) { self.dotEnds = dotEnds }

    mutating func next() throws -> Piece? {
        while true {
            if hasEnded && place == buffer.count { return nil }
            if let end = buffer[place...].firstIndex(of: 0x0a) { return try piece(upTo: end, next: end + 1, isWhole: true) }
            // A CR at the end may be the first half of a line end.
            let end = buffer.last == 0x0d ? buffer.count - 1 : buffer.count
            if hasEnded { return try piece(upTo: buffer.count, next: buffer.count, isWhole: true) }
            if end - place >= Lines.room { return try piece(upTo: end, next: end, isWhole: false) }
            buffer.removeFirst(place)
            place = 0
            let more = try IO.readSome(Descriptor.standardInput, limit: Lines.room)
            if more.isEmpty { hasEnded = true } else { buffer += more }
        }
    }

    private mutating func piece(upTo end: Int, next: Int, isWhole: Bool) throws -> Piece? {
        var octets = Array(buffer[place..<end])
        if isWhole, octets.last == 0x0d { octets.removeLast() }
        // Where one server sees a line end and the next does not, messages are smuggled: none takes it (RFC 5321 2.3.8).
        if octets.contains(0x0d) { throw Trouble("the message has a CR that ends no line", .data) }
        place = next
        let isStart = isAtStart
        isAtStart = isWhole
        if dotEnds, isStart, isWhole, octets == [0x2e] {
            hasEnded = true
            buffer = []
            place = 0
            return nil
        }
        return Piece(octets: octets, isStart: isStart, isWhole: isWhole)
    }
}
