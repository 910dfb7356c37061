// A message on its way out: every line ends with CRLF, a dot that begins a line is doubled (RFC 5321 4.5.2), and nothing else changes. Pure.
import Mail

struct Content {
    private var isAtLineStart = true
    /// A CR has been read, and what comes next decides what it was.
    private var isAfterCR = false

    /// Room that `encode` needs for so many octets.
    static func room(for octets: Int) -> Int { 2 * octets + 2 }
    /// Room that `end` needs.
    static let endRoom = 8

    /// Returns how many octets it wrote.
    mutating func encode(_ input: UnsafeRawBufferPointer, into output: UnsafeMutableRawBufferPointer) -> Int {
        var place = 0, written = 0
        while place < input.count {
            if isAfterCR {
                // By itself a CR is no line end that may be sent (RFC 5321 2.3.8), and what follows it must not pass for the middle
                // of a line: some server might take it for the start of one.
                isAfterCR = false
                written += Content.endLine(output, written)
                isAtLineStart = true
                if input[place] == 0x0a { place += 1; continue }
            }
            if isAtLineStart, input[place] == 0x2e {
                output[written] = 0x2e
                written += 1
            }
            let rest = UnsafeRawBufferPointer(rebasing: input[place...])
            let run = LineEnd.find(in: rest)
            if run > 0 {
                UnsafeMutableRawBufferPointer(rebasing: output[written...]).copyMemory(from: UnsafeRawBufferPointer(rebasing: rest[..<run]))
                written += run
                place += run
                isAtLineStart = false
                if run == rest.count { break }
            }
            if input[place] == 0x0d {
                isAfterCR = true
            } else {
                written += Content.endLine(output, written)
                isAtLineStart = true
            }
            place += 1
        }
        return written
    }

    /// The end of the last line, if it has none, and the dot that ends the message.
    mutating func end(into output: UnsafeMutableRawBufferPointer) -> Int {
        var written = 0
        if isAfterCR || !isAtLineStart { written += Content.endLine(output, written) }
        output[written] = 0x2e
        return written + 1 + Content.endLine(output, written + 1)
    }

    private static func endLine(_ output: UnsafeMutableRawBufferPointer, _ place: Int) -> Int {
        output[place] = 0x0d
        output[place + 1] = 0x0a
        return 2
    }
}
