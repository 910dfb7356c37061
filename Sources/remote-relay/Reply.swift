// What a peer answers (RFC 5321 4.2), read with distrust: every length has a bound. Pure: octets in, replies out.

/// One reply, of one line or several.
struct Reply: Equatable {
    let code: Int
    /// What follows the code in each line.
    let lines: [[UInt8]]

    /// 2, 3, 4 or 5.
    var severity: Int { code / 100 }
    var isDone: Bool { severity == 2 }

    /// `550 5.1.1 no such user`: the lines joined, for people.
    var text: [UInt8] { Array("\(code) ".utf8) + lines.joined(separator: [0x20]) }

    /// RFC 3463, if the peer gave a status, and one of the code's own class.
    var status: [UInt8]? {
        guard let word = lines.first?.prefix(while: { $0 != 0x20 }), word.count <= 9 else { return nil }
        let parts = word.split(separator: 0x2e, omittingEmptySubsequences: false)
        guard parts.count == 3, parts[0].elementsEqual([0x30 + UInt8(severity)]) else { return nil }
        for part in parts where !(1...3 ~= part.count && part.allSatisfy { 0x30...0x39 ~= $0 }) { return nil }
        return Array(word)
    }
}

struct ReplyFault: Error { let text: String }

/// Makes replies of what a peer sends.
struct ReplyReader {
    static let mostLines = 100
    static let mostOctets = 65536

    private var input: [UInt8] = []
    private var start = 0
    /// Up to here there is no line end.
    private var searched = 0
    private var lines: [[UInt8]] = []
    private var octets = 0

    /// The peer has said more than was asked for.
    var hasUnread: Bool { start < input.count }

    mutating func take(_ bytes: UnsafeRawBufferPointer) {
        if start == input.count {
            input.removeAll(keepingCapacity: true)
            (start, searched) = (0, 0)
        }
        input.append(contentsOf: bytes)
    }

    /// The next reply; nil: it is not complete.
    mutating func next() throws(ReplyFault) -> Reply? {
        while let end = input[searched...].firstIndex(of: 0x0a) {
            var line = input[start..<end]
            if line.last == 0x0d { line.removeLast() }
            (start, searched) = (end + 1, end + 1)
            octets += line.count + 2
            try checkLength()
            if let code = try take(line) {
                defer {
                    lines.removeAll()
                    octets = 0
                }
                return Reply(code: code, lines: lines)
            }
        }
        searched = input.count
        if octets + input.count - start > ReplyReader.mostOctets { throw ReplyFault(text: "a reply of more than 64 KB") }
        return nil
    }

    private func checkLength() throws(ReplyFault) {
        if octets > ReplyReader.mostOctets { throw ReplyFault(text: "a reply of more than 64 KB") }
        if lines.count >= ReplyReader.mostLines { throw ReplyFault(text: "a reply of more than \(ReplyReader.mostLines) lines") }
    }

    /// The code, if it is the last line. Should the lines' codes differ, the last one counts.
    private mutating func take(_ line: ArraySlice<UInt8>) throws(ReplyFault) -> Int? {
        let digits = line.prefix(3)
        let sign = line.dropFirst(3).first
        guard digits.count == 3, digits.allSatisfy({ 0x30...0x39 ~= $0 }), 0x32...0x35 ~= digits.first!, sign == nil || sign == 0x20 || sign == 0x2d else {
            throw ReplyFault(text: "an answer that is no SMTP reply")
        }
        lines.append(Array(line.dropFirst(4)))
        return sign == 0x2d ? nil : digits.reduce(0) { $0 * 10 + Int($1 - 0x30) }
    }
}
