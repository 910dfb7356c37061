// The reader of content against a second, slower one that is plain to see through: every short sequence of the octets that matter, whole
// and cut at every place, in both forms.
import Testing
@testable import SMTP

@Suite struct ContentTests {
    enum End: Equatable {
        /// What is stored, and how many octets were taken.
        case complete([UInt8], taken: Int)
        case bare
        case unfinished
    }

    /// RFC 5321 4.1.1.4 and 4.5.2, line by line: a line ends with CRLF; a CR or LF elsewhere is a fault.
    static func expected(_ input: [UInt8]) -> End {
        var stored: [UInt8] = []
        var start = 0
        while let end = input[start...].firstIndex(where: { $0 == 0x0d || $0 == 0x0a }) {
            if input[end] == 0x0a { return .bare }
            guard end + 1 < input.count else { return .unfinished }
            if input[end + 1] != 0x0a { return .bare }
            let line = input[start..<end]
            if line.elementsEqual([0x2e]) { return .complete(stored, taken: end + 2) }
            stored += (line.first == 0x2e ? line.dropFirst() : line) + [0x0a]
            start = end + 2
        }
        return .unfinished
    }

    /// The same of a message told by its length: no dots, and what lacks its last line end gets it.
    static func expectedCounted(_ input: [UInt8]) -> [UInt8]? {
        var stored: [UInt8] = []
        var index = 0
        while index < input.count {
            if input[index] == 0x0a { return nil }
            if input[index] == 0x0d {
                guard index + 1 < input.count, input[index + 1] == 0x0a else { return nil }
                index += 1
            }
            stored.append(input[index])
            index += 1
        }
        return stored.isEmpty || stored.last == 0x0a ? stored : stored + [0x0a]
    }

    static func read(_ pieces: [ArraySlice<UInt8>], _ form: Content.Form = .dotted, limits: Limits = Limits(), takesLF: Bool = false) -> (End, Content) {
        var content = Content(form, limits: limits, takesLF: takesLF)
        var stored: [UInt8] = [], taken = 0
        for piece in pieces {
            let (count, hasEnded) = Array(piece).withUnsafeBytes { content.take($0, into: &stored) }
            taken += count
            if content.fault == .bareLineEnd { return (.bare, content) }
            if hasEnded { return (.complete(stored, taken: taken), content) }
            if count != piece.count { Issue.record("\(count) of \(piece.count) octets taken and nothing said"); break }
        }
        return (.unfinished, content)
    }

    /// All sequences of these octets up to a length.
    static func sequences(of octets: [UInt8], upTo length: Int) -> [[UInt8]] {
        var all: [[UInt8]] = [[]], last: [[UInt8]] = [[]]
        for _ in 0..<length {
            last = last.flatMap { sequence in octets.map { sequence + [$0] } }
            all += last
        }
        return all
    }

    @Test func everyShortSequenceWholeAndCut() {
        for sequence in Self.sequences(of: [0x0d, 0x0a, 0x2e, 0x61], upTo: 6) {
            let input = sequence + Array("\r\n.\r\n".utf8)
            let expected = Self.expected(input)
            #expect(expected != .unfinished)
            for place in 0...input.count {
                let (end, _) = Self.read([input[..<place], input[place...]])
                guard end == expected else { Issue.record("\(input) cut at \(place): \(end), not \(expected)"); return }
            }
            guard Self.read(input.indices.map { input[$0...$0] }).0 == expected else { Issue.record("\(input) octet by octet"); return }
        }
    }

    @Test func everyShortSequenceCounted() {
        for input in Self.sequences(of: [0x0d, 0x0a, 0x2e, 0x61], upTo: 6) {
            let expected = Self.expectedCounted(input)
            for place in 0...input.count {
                var content = Content(.counted, limits: Limits(), takesLF: false)
                var stored: [UInt8] = []
                for piece in [input[..<place], input[place...]] where content.fault == nil {
                    let (_, hasEnded) = Array(piece).withUnsafeBytes { content.take($0, into: &stored) }
                    #expect(!hasEnded)
                }
                content.end(into: &stored)
                let isFaulty = content.fault == .bareLineEnd || content.endsInCR
                guard isFaulty == (expected == nil), isFaulty || stored == expected else { Issue.record("\(input) cut at \(place): \(stored)"); return }
            }
        }
    }

    /// Longer ones, with the octets of real mail, so that the search for line ends goes through whole blocks of sixteen.
    @Test func longSequencesInRandomPieces() {
        var numbers = RepeatableNumbers(state: 3)
        let words: [[UInt8]] = [[0x0d, 0x0a], [0x0d, 0x0a], [0x0d, 0x0a], [0x2e], [0x0d, 0x0a, 0x2e], Array("abcdefghijklmnopqrstuvwxyz".utf8), [0], [0xff], [0x20], Array(repeating: 0x78, count: 100)]
        for round in 0..<5000 {
            var input = (0..<Int.random(in: 0...30, using: &numbers)).flatMap { _ in words.randomElement(using: &numbers)! } + Array("\r\n.\r\nNOOP\r\n".utf8)
            if round % 3 == 0 { input[Int.random(in: 0..<input.count, using: &numbers)] = [0x0d, 0x0a, 0x2e].randomElement(using: &numbers)! }
            var pieces: [ArraySlice<UInt8>] = [], start = 0
            while start < input.count {
                let end = min(input.count, start + Int.random(in: 1...40, using: &numbers))
                pieces.append(input[start..<end])
                start = end
            }
            let expected = Self.expected(input)
            let (end, _) = Self.read(pieces)
            guard end == expected else { Issue.record("round \(round), \(input): \(end), not \(expected)"); return }
        }
    }

    @Test func byHandLFEndsLinesToo() {
        for (text, stored) in [("a\nb\n.\n", "a\nb\n"), (".\n", ""), ("a\r\n.\r\n", "a\n"), ("..\n.\n", ".\n"), ("a\n.\r\n", "a\n"), ("a\r\n.\n", "a\n"), (".a\n\n.\n", "a\n\n")] {
            let (end, _) = Self.read([Array(text.utf8)[...]], takesLF: true)
            #expect(end == .complete(Array(stored.utf8), taken: text.utf8.count), "\(text)")
        }
        #expect(Self.read([Array("a\rb\n.\n".utf8)[...]], takesLF: true).0 == .bare)
    }

    /// RFC 5321 2.3.8 and RFC 6152: any octet but CR and LF is carried through.
    @Test func everyOtherOctetIsCarriedThrough() {
        let octets = (UInt8(0)...255).filter { $0 != 0x0d && $0 != 0x0a }
        let (end, _) = Self.read([octets[...], Array("\r\n.\r\n".utf8)[...]])
        #expect(end == .complete(octets + [0x0a], taken: octets.count + 5))
    }

    /// RFC 1870 5: octets as they come over the wire, CRLF as two, the stuffed dot and the final line not counted.
    @Test func messageSize() {
        var limits = Limits()
        limits.messageSize = 20
        for (text, isTooBig) in [("0123456789abcdef\r\n\r\n", false), ("0123456789abcdefg\r\n\r\n", true), ("0123456789abcdefgh\r\n", false), ("0123456789abcdefghi\r\n", true), ("..23456789abcdefghi\r\n", false), ("..23456789abcdefghij\r\n", true)] {
            let input = Array((text + ".\r\n").utf8)
            for place in 0...input.count {
                let (end, content) = Self.read([input[..<place], input[place...]], limits: limits)
                #expect((content.fault == .tooBig) == isTooBig, "\(text) cut at \(place)")
                guard case .complete = end else { Issue.record("\(text) has no end"); return }
            }
        }
    }

    /// A chunk may end within a line: what counts is what came.
    @Test func messageSizeWithoutALineEnd() {
        var limits = Limits()
        limits.messageSize = 20
        for (count, isTooBig) in [(20, false), (21, true)] {
            let (_, content) = Self.read([[UInt8](repeating: 0x78, count: count)[...]], .counted, limits: limits)
            #expect((content.fault == .tooBig) == isTooBig)
        }
    }

    /// RFC 5321 4.5.3.1.6: the line end included, the stuffed dot not.
    @Test func lineLength() {
        var limits = Limits()
        limits.lineLength = 20
        let line = String(repeating: "x", count: 18)
        for (text, isTooLong) in [("\(line)\r\n", false), ("\(line)x\r\n", true), ("..\(line.dropFirst())\r\n", false), ("..\(line)\r\n", true), ("\(line)\r\n\(line)\r\n", false)] {
            let input = Array((text + ".\r\n").utf8)
            for place in 0...input.count {
                let (end, content) = Self.read([input[..<place], input[place...]], limits: limits)
                #expect((content.fault == .lineTooLong) == isTooLong, "\(text) cut at \(place)")
                guard case .complete = end else { Issue.record("\(text) has no end"); return }
            }
        }
    }

    /// What is refused anyway is not stored on: the rest of ten gigabytes passes by.
    @Test func behindAFaultNothingIsStored() {
        var limits = Limits()
        limits.messageSize = 10
        var content = Content(.dotted, limits: limits, takesLF: false)
        var stored: [UInt8] = []
        for _ in 0..<1000 { _ = Array("0123456789\r\n".utf8).withUnsafeBytes { content.take($0, into: &stored) } }
        #expect(stored.count <= 12)
        #expect(content.fault == .tooBig)
    }

    /// Also behind another fault: the connection is closed whatever else was wrong.
    @Test func aBareLineEndIsTheWorst() {
        var limits = Limits()
        limits.messageSize = 4
        #expect(Self.read([Array("0123456789\r\na\nb\r\n.\r\n".utf8)[...]], limits: limits).0 == .bare)
    }

    @Test func hops() {
        var limits = Limits()
        limits.hops = 2
        for (count, isTooMany) in [(0, false), (2, false), (3, true)] {
            let text = String(repeating: "Received: x\r\n", count: count) + "\r\nReceived: y\r\nReceived: z\r\n.\r\n"
            #expect((Self.read([Array(text.utf8)[...]], limits: limits).1.fault == .tooManyHops) == isTooMany)
        }
    }
}
