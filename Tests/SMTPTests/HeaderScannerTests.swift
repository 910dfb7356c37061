// Counting Received lines (RFC 5321 6.3): in the header section, at the beginning of lines, in any case, in any pieces.
import Testing
@testable import SMTP

@Suite struct HeaderScannerTests {
    private func count(_ text: String, cuts: [Int] = []) -> Int {
        var scanner = HeaderScanner()
        var place = 0
        for line in text.split(separator: "\n", omittingEmptySubsequences: false).dropLast() {
            let octets = Array(line.utf8)
            var start = 0
            for cut in cuts + [Int.max] {
                let end = min(octets.count, max(start, cut - place))
                if end > start { octets[start..<end].withUnsafeBytes { scanner.take($0) } }
                start = end
            }
            scanner.lineEnds()
            place += octets.count + 1
        }
        return scanner.received
    }

    static let texts: [(String, Int)] = [
        ("", 0), ("\n", 0), ("Received: a\n\n", 1), ("received:\nRECEIVED:x\nReCeIvEd: y\n\n", 3),
        ("Received\nReceive: x\nReceivedd: x\nX-Received: x\n Received: x\n\tReceived: x\n\n", 0),
        ("Received: a\n\tReceived: folded\n by x\nReceived: b\n\n", 2),
        ("Subject: x\n\nReceived: in the body\n", 0), ("\nReceived: x\n", 0), ("Received: a\nSubject: Received: b\n\nReceived: c\n", 1),
    ]

    @Test(arguments: texts) func counts(text: String, expected: Int) { #expect(count(text) == expected) }

    @Test(arguments: texts) func inAnyPieces(text: String, expected: Int) {
        for first in 0...text.utf8.count {
            for second in first...text.utf8.count { #expect(count(text, cuts: [first, second]) == expected, "cut at \(first) and \(second)") }
        }
    }
}
