// The content of a message, octet by octet: dot-stuffing undone, CRLF turned into LF, and nothing taken for a line
// end that is not one. A CR without LF or an LF without CR is a fault, never repaired: what one server repairs and the next
// does not is how messages are smuggled (RFC 5321 2.3.8, 4.1.1.4).
import Mail

struct Content {
    enum Fault { case bareLineEnd, lineTooLong, tooBig, tooManyHops, headerTooBig }

    /// How the end of the content is told: by CRLF.CRLF (DATA), or by counting (BDAT, RFC 3030).
    enum Form { case dotted, counted }

    private enum Place { case lineStart, inLine, afterDot, afterDotCR, afterCR }

    private let form: Form
    private let limits: Limits
    /// By hand, LF alone ends a line.
    private let takesLF: Bool
    private var place = Place.lineStart
    private var octets = 0
    private var lineOctets = 0
    private var headers = HeaderScanner()
    /// At the outgoing server: the header section is completed as it passes.
    private(set) var submission: SubmissionHeader?
    /// The first thing wrong with it. `bareLineEnd` ends the session; the others are answered at the end.
    private(set) var fault: Fault?

    init(_ form: Form, limits: Limits, takesLF: Bool, submission: SubmissionHeader? = nil) {
        self.submission = submission
        self.form = form
        self.limits = limits
        self.takesLF = takesLF
    }

    /// Whether a message that is complete now ends with a line end, as all must (RFC 5321 2.3.8; RFC 3030 leaves it open).
    private var endsInLine: Bool { place == .inLine }
    /// A CR at the very end waits for an LF that does not come.
    var endsInCR: Bool { place == .afterCR }

    /// Takes octets from the front of `input`, appends what is to be stored to `output`. Returns how many it took and
    /// whether the content has ended, which only the dotted form can tell by itself.
    mutating func take(_ input: UnsafeRawBufferPointer, into output: inout [UInt8]) -> (taken: Int, hasEnded: Bool) {
        var index = 0
        while index < input.count {
            let byte = input[index]
            switch place {
            case .lineStart where byte == 0x2e && form == .dotted:
                place = .afterDot
                index += 1
                // Should it be stuffing, it does not count (RFC 5321 4.5.3.1.6).
                lineOctets = 0
            case .lineStart, .inLine:
                index += takeText(UnsafeRawBufferPointer(rebasing: input[index...]), &output)
                if fault == .bareLineEnd { return (index, false) }
            case .afterDot:
                index += 1
                if byte == 0x0d { place = .afterDotCR }
                else if byte == 0x0a {
                    if takesLF { return (index, true) }
                    fault = .bareLineEnd
                    return (index, false)
                } else {
                    // The dot was stuffing.
                    place = .inLine
                    index -= 1
                }
            case .afterDotCR:
                index += 1
                if byte == 0x0a { return (index, true) }
                fault = .bareLineEnd
                return (index, false)
            case .afterCR:
                index += 1
                guard byte == 0x0a else { fault = .bareLineEnd; return (index, false) }
                endLine(&output, octets: 2)
            }
        }
        return (index, false)
    }

    /// A run of text up to and including the first octet of its line end.
    private mutating func takeText(_ input: UnsafeRawBufferPointer, _ output: inout [UInt8]) -> Int {
        let end = LineEnd.find(in: input)
        if end > 0 {
            place = .inLine
            let run = UnsafeRawBufferPointer(rebasing: input[..<end])
            headers.take(run)
            lineOctets += end
            octets += end
            if octets > limits.messageSize { note(.tooBig) }
            if lineOctets > limits.lineLength - 2 { note(.lineTooLong) }
            if fault == nil {
                if submission?.isInBody == false { takeHeader(run, &output) } else { output.append(contentsOf: run) }
            }
        }
        guard end < input.count else { return end }
        if input[end] == 0x0d {
            place = .afterCR
        } else if takesLF {
            endLine(&output, octets: 1)
        } else {
            fault = .bareLineEnd
        }
        return end + 1
    }

    private mutating func endLine(_ output: inout [UInt8], octets count: Int) {
        octets += count
        if octets > limits.messageSize { note(.tooBig) }
        headers.lineEnds()
        if headers.received > limits.hops { note(.tooManyHops) }
        if fault == nil {
            if submission?.isInBody == false { submission!.endLine(into: &output) } else { output.append(0x0a) }
        }
        place = .lineStart
        lineOctets = 0
    }

    private mutating func takeHeader(_ run: UnsafeRawBufferPointer, _ output: inout [UInt8]) {
        submission!.take(run, into: &output)
        if submission!.isExcessive { note(.headerTooBig) }
    }

    /// The message is complete: what its last line and its header section still need.
    mutating func end(into output: inout [UInt8]) {
        // Every message ends with a line end, or the next one in an mbox would begin in its last line.
        if endsInLine { endLine(&output, octets: 0) }
        if submission?.isInBody == false { submission!.end(into: &output) }
    }

    private mutating func note(_ new: Fault) { if fault == nil { fault = new } }
}

/// Counts Received lines (RFC 5321 6.3) while the header section passes by.
struct HeaderScanner {
    private(set) var received = 0
    private var inHeaders = true
    /// How much of "received:" the current line has matched; -1: it is another line.
    private var matched = 0
    private var lineIsEmpty = true

    private static let name = Array("received:".utf8)

    mutating func take(_ run: UnsafeRawBufferPointer) {
        guard inHeaders else { return }
        lineIsEmpty = false
        var index = 0
        while matched >= 0, matched < HeaderScanner.name.count, index < run.count {
            let byte = run[index]
            // RFC 5322 4.5.8: once there could be space before the colon.
            let isObsoleteSpace = matched == HeaderScanner.name.count - 1 && (byte == 0x20 || byte == 0x09)
            if !isObsoleteSpace { matched = byte.lowercased == HeaderScanner.name[matched] ? matched + 1 : -1 }
            index += 1
        }
    }

    mutating func lineEnds() {
        guard inHeaders else { return }
        if lineIsEmpty { inHeaders = false }
        if matched == HeaderScanner.name.count { received += 1 }
        matched = 0
        lineIsEmpty = true
    }
}
