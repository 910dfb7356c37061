// The body as RFC 6376 3.4.4 has it, in one piece and octet by octet.
import DKIM
import Testing

@Suite struct BodyTests {
    static let cases: [(String, String, String)] = [
        ("the example of 3.4.5", " C \r\nD \t E\r\n\r\n\r\n", " C\r\nD E\r\n"),
        ("nothing", "", ""),
        ("one empty line", "\r\n", ""),
        ("many empty lines", "\n\r\n\n", ""),
        ("white space alone", " \t", ""),
        ("lines of white space", " \r\n\t\t\r\n ", ""),
        ("no line end", "a", "a\r\n"),
        ("no line end, and white space", "a \t", "a\r\n"),
        ("LF", "a\nb\n", "a\r\nb\r\n"),
        ("empty lines inside", "a\n\n\nb\n\n", "a\r\n\r\n\r\nb\r\n"),
        ("a line of white space inside", "a\n \t\nb\n", "a\r\n\r\nb\r\n"),
        ("white space in front", "\t  a\n", " a\r\n"),
        ("a CR alone", "a\rb\n\r", "a\rb\r\n\r\r\n"),
        ("a CR too many", "a\r\r\n", "a\r\r\n"),
        ("white space before a CR alone", "a \rb\n", "a \rb\r\n"),
        ("a CR alone before white space", "a\r \n", "a\r\r\n"),
        ("NUL and other controls", "a\0\u{b}\u{c} \n", "a\0\u{b}\u{c}\r\n"),
        ("beyond ASCII", "é \u{a0}\n", "é \u{a0}\r\n"),
    ]

    @Test(arguments: cases) func isCanonical(name: String, body: String, expected: String) {
        #expect(canonical([Array(body.utf8)]) == Array(expected.utf8), "\(name)")
    }

    @Test(arguments: cases) func isCanonicalInPieces(name: String, body: String, expected: String) {
        #expect(canonical(Array(body.utf8).map { [$0] }) == Array(expected.utf8), "\(name)")
    }

    /// Empty lines cost no memory until something follows, and then they are handed on in pieces.
    @Test func manyEmptyLines() {
        let count = 1_000_000
        var octets = 0, largest = 0
        var body = RelaxedBody()
        let take = { (piece: UnsafeRawBufferPointer) in
            octets += piece.count
            largest = max(largest, piece.count)
        }
        [UInt8](repeating: 0x0a, count: count).withUnsafeBytes { body.update($0, take) }
        #expect(octets == 0)
        Array("x".utf8).withUnsafeBytes { body.update($0, take) }
        body.finish(take)
        #expect(octets == 2 * count + 3)
        #expect(largest < 100_000)
    }

    private func canonical(_ pieces: [[UInt8]]) -> [UInt8] {
        var body = RelaxedBody()
        var result: [UInt8] = []
        for piece in pieces { piece.withUnsafeBytes { body.update($0) { result += Array($0) } } }
        body.finish { result += Array($0) }
        return result
    }
}
