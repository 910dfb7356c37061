// One file of all messages, of the mboxrd kind (RFC 4155's syntax): each begins with a line `From SENDER DATE`; a line of the message that
// looks like one, quoted already or not, gets one more `>`, and loses it again when it is read. What a Maildir keeps in names becomes
// lines as mail readers know them: Status, X-Status, and for a folder's messages X-Folder.
import Mail
import Unix

struct Mbox: Visitor {
    private static let pieceOctets = 64 << 10

    private let output: Output
    private let piece = UnsafeMutableRawBufferPointer.allocate(byteCount: Mbox.pieceOctets, alignment: 16)

    init(_ output: Output) { self.output = output }

    mutating func takes(unopened message: Message) -> Bool { false }
    mutating func visit(directory path: [UInt8], modified: Int) {}
    mutating func visit(file: borrowing Descriptor, path: [UInt8]) {}

    mutating func visit(message: Message, _ file: borrowing Descriptor) throws -> Int {
        let status = try IO.status(file.raw)
        var count = try IO.read(file.raw, into: piece)
        let beginning = UnsafeRawBufferPointer(rebasing: piece[..<count])
        output.append(Array("From ".utf8) + Mbox.sender(beginning) + Array(" \(Mbox.date(message.seconds ?? status.modified))\n".utf8))
        output.append(Mbox.lines(message))
        var quoting = Quoting(), total = 0
        while count > 0 {
            quoting.write(UnsafeRawBufferPointer(rebasing: piece[..<count]), to: output)
            total += count
            try output.check()
            count = try IO.read(file.raw, into: piece)
        }
        quoting.end(output)
        output.append(0x0a)
        return total
    }

    /// What Return-Path says, if the message begins with it, as ours do.
    private static func sender(_ beginning: UnsafeRawBufferPointer) -> [UInt8] {
        let field = Array("return-path: <".utf8)
        let nobody = Array("MAILER-DAEMON".utf8)
        guard beginning.prefix(field.count).map(\.lowercased) == field else { return nobody }
        let address = Array(beginning.dropFirst(field.count).prefix(320).prefix { $0 != 0x3e && $0 != 0x0a })
        return address.isEmpty || !address.allSatisfy { 0x21...0x7e ~= $0 } ? nobody : address
    }

    /// `Thu Nov 26 09:08:07 2026`, in UTC.
    private static func date(_ seconds: Int) -> String {
        // Years of four digits.
        let parts = MailDate.short(seconds: min(max(0, seconds), 253_402_300_799)).split(whereSeparator: { $0 == "-" || $0 == " " })
        let days = max(0, seconds) / 86400
        let weekday = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"][days % 7]
        let months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
        let day = Int(parts[2]) ?? 1
        return "\(weekday) \(months[(Int(parts[1]) ?? 1) - 1]) \(day < 10 ? " " : "")\(day) \(parts[3]) \(parts[0])"
    }

    private static func lines(_ message: Message) -> [UInt8] {
        var text = ""
        let has = { (flag: String) in message.flags.contains(flag.utf8.first!) }
        let seen = (has("S") ? "R" : "") + (message.isNew ? "" : "O")
        let marks = (has("R") ? "A" : "") + (has("F") ? "F" : "") + (has("D") ? "T" : "") + (has("T") ? "D" : "")
        if !seen.isEmpty { text += "Status: \(seen)\n" }
        if !marks.isEmpty { text += "X-Status: \(marks)\n" }
        guard !message.folder.isEmpty else { return Array(text.utf8) }
        // A folder's name may hold a line end.
        return Array(text.utf8) + Array("X-Folder: ".utf8) + message.folder.map { $0 < 0x20 || $0 == 0x7f ? 0x3f : $0 } + [0x0a]
    }
}

/// The quoting of lines that begin with `From `, whatever number of `>` stands before, wherever pieces end.
private struct Quoting {
    private static let from = Array("From ".utf8)

    /// Within the beginning of a line that may have to be quoted: `>` so far, then letters of From.
    private var isAtStart = true
    private var quotes = 0
    private var matched = 0
    private var endsInLine = false

    mutating func write(_ bytes: UnsafeRawBufferPointer, to output: Output) {
        var place = 0
        while place < bytes.count {
            if isAtStart {
                let byte = bytes[place]
                if matched == 0, byte == 0x3e { quotes += 1; place += 1; continue }
                if byte == Quoting.from[matched] {
                    matched += 1
                    place += 1
                    if matched == Quoting.from.count {
                        output.append(0x3e)
                        release(output)
                    }
                    continue
                }
                release(output)
            }
            // The rest of the line goes as it is.
            let rest = UnsafeRawBufferPointer(rebasing: bytes[place...])
            let end = rest.firstIndex(of: 0x0a)
            let count = end.map { $0 + 1 } ?? rest.count
            output.append(UnsafeRawBufferPointer(rebasing: rest[..<count]))
            place += count
            isAtStart = end != nil
            endsInLine = end == nil
        }
    }

    /// Lines end, also the last one.
    mutating func end(_ output: Output) {
        if isAtStart, quotes > 0 || matched > 0 { release(output) }
        if endsInLine { output.append(0x0a) }
    }

    /// What was held back goes.
    private mutating func release(_ output: Output) {
        output.repeating(0x3e, quotes)
        output.append(Quoting.from[..<matched])
        endsInLine = quotes > 0 || matched > 0 || endsInLine
        (quotes, matched, isAtStart) = (0, 0, false)
    }
}
