// Header sections taken apart, and fields as RFC 6376 3.4.2 has them.
import DKIM
import Testing

@Suite struct HeaderTests {
    static let fields: [(String, String)] = [
        ("A: X\r\n", "a:X"),
        ("B : Y\t\r\n\tZ  \r\n", "b:Y Z"),
        ("Subject:\r\n", "subject:"),
        ("Subject: \t \n", "subject:"),
        ("SUBJECT\t :a  b\tc\n", "subject:a b c"),
        ("Subject: a\n b\n  c\n", "subject:a b c"),
        ("Subject: a\n \n b\n", "subject:a b"),
        ("Subject:\n a\n", "subject:a"),
        ("Subject: a: b:\n", "subject:a: b:"),
        ("Subject: a\rb\n", "subject:a\rb"),
        ("Subject: \u{e9}\n", "subject:\u{e9}"),
        ("X: no line end", "x:no line end"),
    ]

    @Test(arguments: fields) func isCanonical(field: String, expected: String) throws {
        let header = try Header(Array(field.utf8))
        #expect(header.fields.count == 1)
        #expect(String(decoding: header.relaxed(header.fields[0]), as: UTF8.self) == expected)
    }

    @Test(arguments: [" a: b\n", "a\n", "a: b\nc\nd: e\n", ":a\n", "From me Mon\nFrom: a@b\n", ">From x\n", "\u{e9}: a\n", "a b: c\n", "a: b\n\r"])
    func isMalformed(_ text: String) { #expect(throws: NotSigned.self) { try Header(Array(text.utf8)) } }

    @Test func endsAtTheEmptyLine() throws {
        for (text, end, body) in [("a: b\n\nc", 5, 6), ("a: b\r\n\r\nc", 6, 8), ("\nx", 0, 1), ("\r\nx", 0, 2), ("a: b\n\r\nc", 5, 7)] {
            let found = try #require(Header.boundary(in: Array(text.utf8)))
            #expect(found.headerEnd == end && found.bodyStart == body, "\(text)")
        }
        for text in ["", "a: b\n", "a: b\r\n\r", "a", "a: b\n \n"] { #expect(Header.boundary(in: Array(text.utf8)) == nil, "\(text)") }
    }

    @Test func isCountedFromTheBottom() throws {
        let header = try Header(Array("To: 1\nx: y\nTO : 2\nTox: 3\n".utf8))
        #expect(header.fields(named: Array("to".utf8)).map { header.relaxed($0) } == ["to:2", "to:1"].map { Array($0.utf8) })
    }

    @Test(arguments: [
        ("From: a@Example.org\n", "example.org"), ("From : A B <a@b.c>\n", "b.c"), ("from: (x) a@b.c, d@B.C\n", "b.c"), ("From: us: a@b.c;\n", "b.c"),
        ("From: \"a,b\"@\n b.c\n", "b.c"),
    ]) func hasADomain(_ text: String, _ domain: String) throws {
        #expect(try SignedFields.domain(of: Header(Array(text.utf8))) == Array(domain.utf8))
    }

    @Test(arguments: ["To: a@b.c\n", "From: a@b.c\nFrom: a@b.c\n", "From: a\n", "From:\n", "From: us:;\n", "From: a@b.c, d@e.f\n", "From: a@[192.0.2.1]\n", "From: \"a@b.c\n"])
    func hasNoDomain(_ text: String) { #expect(throws: NotSigned.self) { try SignedFields.domain(of: Header(Array(text.utf8))) } }
}
