// The header section that is completed as it passes by, against the plain one: whole, cut at every place, and octet by octet.
import Testing
@testable import SMTP

@Suite struct SubmissionHeaderTests {
    static let additions = SubmissionHeader.Additions(from: Array("own@semail.test".utf8), date: Array("today".utf8), messageID: Array("1@semail.test".utf8))
    static let added = "From: <own@semail.test>\nDate: today\nMessage-ID: <1@semail.test>\n"

    struct Result: Equatable {
        var stored: [UInt8] = []
        var identities: [[UInt8]] = []
        var fromFields = 0
    }

    /// What the real one makes of a message whose lines end with LF, cut at the given places beside its line ends.
    static func read(_ message: [UInt8], cuts: Set<Int> = []) -> Result {
        var header = SubmissionHeader(additions)
        var stored: [UInt8] = []
        func take(_ piece: ArraySlice<UInt8>) {
            if header.isInBody { stored += piece } else { Array(piece).withUnsafeBytes { header.take($0, into: &stored) } }
        }
        func endLine() { if header.isInBody { stored.append(0x0a) } else { header.endLine(into: &stored) } }
        var start = 0
        for (index, byte) in message.enumerated() {
            if cuts.contains(index), index > start {
                take(message[start..<index])
                start = index
            }
            if byte == 0x0a {
                if index > start { take(message[start..<index]) }
                endLine()
                start = index + 1
            }
        }
        if start < message.count {
            take(message[start...])
            endLine()
        }
        if !header.isInBody { header.end(into: &stored) }
        return Result(stored: stored, identities: header.identities, fromFields: header.hasOneFrom ? min(header.identities.count, 1) : 2)
    }

    static func expected(_ message: [UInt8]) -> Result {
        let (stored, identities, fromFields) = PlainHeader.completed(message, from: additions.from, date: additions.date, messageID: additions.messageID)
        return Result(stored: stored, identities: identities, fromFields: fromFields > 1 ? 2 : min(identities.count, 1))
    }

    /// Whole, in two at every place, and octet by octet; false when a difference has been told.
    static func holds(_ message: [UInt8]) -> Bool {
        let expected = expected(message)
        var ways = (0...message.count).map { Set([$0]) }
        ways.append(Set(message.indices))
        for way in ways {
            let result = read(message, cuts: way)
            guard result == expected else {
                func text(_ octets: [UInt8]) -> String { String(decoding: octets, as: UTF8.self) }
                Issue.record("\(text(message)) cut at \(way.count == 1 ? "\(way)" : "every octet"): \(text(result.stored)), not \(text(expected.stored))")
                return false
            }
        }
        return true
    }

    static let messages = [
        "", "\n", "\n\n", "text", "text\n", "From: a@b", "From: a@b\n", "From: a@b\n\n", "From:", "From", "F", ":", ": x\n", " ", " x\n", "\t\n", " : x\n",
        "Bcc: x", "Bcc: x\n", "Bcc: x\n y\n", "Bcc: x\n y", "Bcc:", "Bcc", "Bcc\n", "Bcc x: y\n", "bcc : x\nBCC\t:y\nBcc:\n\n", "Bcc: x\n\nBcc: y\n", "Resent-Bcc: x\nResent-To: y\n\n",
        "Subject: x\nFrom: a@b\nDate: d\nMessage-ID: m\n\nbody\n", "Date: d\nfrom : a@b\n\tc@d\n  \nmessage-ID\t: m\n\n\n", "Subject: x\nno field\nBcc: y\n", "Subject: x\n\u{0}: y\n",
        "X\u{7f}: y\n", "Ü: y\n",
        "From x: y\n", "From  \t : y\n", "From: a\nFrom: b\n\n", "Sender: a\n b\nResent-From: c\nResent-Sender: d\nReply-To: e\n\nFrom: f\n", "X:\n\n", "X:\n \nY:\n\t\n\n",
        "From: a\n \n b\nBcc: c\n \n d\nE: f\n\n",
        "!#$%&'*+-/0=?^_`{|}~: x\n\n", "fro:m@x\n\n", "Frome: x\n\n", "Fro: x\n\n", "Datex: y\nXDate: z\n\n", "Message-ID : x\nDate : y\nFrom : z\n\n",
        String(repeating: "n", count: 256) + ": x\nBcc: y\n", String(repeating: "n", count: 257) + ": x\nBcc: y\n",
            String(repeating: "n", count: 200) + String(repeating: " ", count: 56) + ": x\n\n", String(repeating: "n", count: 200) + String(repeating: " ", count: 57) + ": x\n\n",
        "From" + String(repeating: " ", count: 252) + ": a@b\n\n", "From" + String(repeating: " ", count: 253) + ": a@b\n\n", String(repeating: "x", count: 300) + "\n",
    ]

    @Test(arguments: messages) func cutAtEveryPlace(message: String) { #expect(Self.holds(Array(message.utf8))) }

    /// The plain one is right, too.
    @Test func inWords() {
        func stored(_ message: String) -> String { String(decoding: Self.expected(Array(message.utf8)).stored, as: UTF8.self) }
        #expect(stored("") == Self.added)
        #expect(stored("\n") == Self.added + "\n")
        #expect(stored("text") == Self.added + "\ntext\n")
        #expect(stored(" From: x\n") == Self.added + "\n From: x\n")
        #expect(stored("Subject: x\nno field\n\nBcc: y\n") == "Subject: x\n" + Self.added + "\nno field\n\nBcc: y\n")
        #expect(stored("Bcc: x\n y\nBCC :z\nFrom: a\nDATE: b\nMessage-Id: c\n\nd") == "From: a\nDATE: b\nMessage-Id: c\n\nd\n")
        let two = Self.expected(Array("From: a\n b\nSender : c\nfrom:d\n\n".utf8))
        #expect(two.identities == [" a\n b\n", " c\n", "d\n"].map { Array($0.utf8) })
        #expect(two.fromFields == 2)
    }

    /// Every message of up to four pieces out of those that matter.
    @Test func everyShortMessage() {
        let pieces = ["\n", " ", "\t", ":", "From", "bcc", "Date", "x", "\n ", "\nBCC:", "Sender: a\n"].map { Array($0.utf8) }
        func grow(_ message: [UInt8], _ left: Int) -> Bool {
            if Self.read(message) != Self.expected(message) || Self.read(message, cuts: Set(message.indices)) != Self.expected(message) { return Self.holds(message) }
            return left == 0 || pieces.allSatisfy { grow(message + $0, left - 1) }
        }
        #expect(grow([], 4))
    }

    @Test func longMessagesInRandomPieces() {
        var numbers = RepeatableNumbers(state: 7)
        let pieces = ["\n", "\n", "\n", "\n\n", "\n ", "\n\t", ": ", ":", " ", "From", "from:", "\nFrom: a@b", "\nBcc: x", "Bcc:", "\nDate: d", "Message-ID:", "\nSender:", "Resent-Bcc",
            "word", "é", "\0"].map { Array($0.utf8) }
        for _ in 0..<4000 {
            let message = (0..<Int.random(in: 0...20, using: &numbers)).flatMap { _ in pieces.randomElement(using: &numbers)! }
            let cuts = Set((0..<Int.random(in: 0...10, using: &numbers)).map { _ in Int.random(in: 0...message.count, using: &numbers) })
            guard Self.read(message, cuts: cuts) == Self.expected(message) else { _ = Self.holds(message); return }
        }
    }

    /// What comes in is stored, whatever octets it is made of: nothing but Bcc is lost, and nothing is changed.
    @Test func everyOctetGoesThrough() {
        for octet in UInt8(0)...255 where octet != 0x0a {
            for message in [Array("X: ".utf8) + [octet, 0x0a, 0x0a], Array("From: ".utf8) + [octet, 0x0a, 0x0a], [octet, 0x0a, 0x0a], [0x58, octet, 0x3a, 0x0a, 0x0a],
                Array("X:\n".utf8) + [octet], Array("X:\n ".utf8) + [octet, 0x0a]] {
                if !Self.holds(message) { return }
            }
        }
    }

    // MARK: Bounds

    private static func isExcessive(_ message: String) -> (Bool, Int) {
        var header = SubmissionHeader(additions)
        var stored: [UInt8] = []
        for line in message.split(separator: "\n", omittingEmptySubsequences: false) {
            Array(line.utf8).withUnsafeBytes { header.take($0, into: &stored) }
            header.endLine(into: &stored)
            if header.isInBody { break }
        }
        return (header.isExcessive, header.identities.reduce(0) { $0 + $1.count })
    }

    @Test func whatIsKeptIsBounded() {
        #expect(Self.isExcessive("From: " + String(repeating: "x", count: 65_000)).0 == false)
        for message in ["From: " + String(repeating: "x", count: 70_000), "From: x" + String(repeating: "\n y", count: 30_000),
            String(repeating: "Sender:\n", count: 2000), "From: " + String(repeating: "x", count: 40_000) + "\nSender: " + String(repeating: "y", count: 40_000)] {
            let (isExcessive, kept) = Self.isExcessive(message)
            #expect(isExcessive)
            #expect(kept <= 65_536)
        }
    }

    /// Other fields may be as long as they like, and are not kept.
    @Test func othersAreNotKept() {
        for message in ["X: " + String(repeating: "x", count: 300_000), "Bcc: " + String(repeating: "x", count: 300_000), String(repeating: "Bcc: x\n y\n", count: 30_000),
            String(repeating: "X: y\n", count: 60_000)] {
            #expect(Self.isExcessive(message) == (false, 0))
        }
    }

    /// Of a line whose name is not complete no more is held back than a name is long.
    @Test func whatIsHeldBackIsBounded() {
        var header = SubmissionHeader(Self.additions)
        var stored: [UInt8] = []
        var given = 0
        while !header.isInBody, given < 10_000 {
            [UInt8(0x78)].withUnsafeBytes { header.take($0, into: &stored) }
            given += 1
        }
        #expect(given <= PlainHeader.nameLimit + 1)
        #expect(stored.count == Self.added.utf8.count + 1 + given)
    }
}
