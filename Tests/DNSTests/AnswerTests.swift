// Answers as name servers write them, and as nobody should.
import Testing

@testable import DNS

@Suite struct AnswerTests {
    /// Header, one question for `example.org` MX, and what follows.
    private static func message(_ answers: Int, _ records: [UInt8]) -> [UInt8] {
        [0, 1, 0x81, 0x80, 0, 1, 0, UInt8(answers), 0, 0, 0, 0] + name("example.org") + [0, 15, 0, 1] + records
    }

    private static func name(_ text: String) -> [UInt8] { text.split(separator: ".").flatMap { [UInt8($0.utf8.count)] + Array($0.utf8) } + [0] }

    private static func record(_ owner: [UInt8], _ type: UInt8, _ data: [UInt8], class number: UInt8 = 1) -> [UInt8] {
        owner + [0, type, 0, number, 0, 0, 0, 60, UInt8(data.count >> 8), UInt8(data.count & 255)] + data
    }

    private static let question: [UInt8] = [0xc0, 12]
    private static let asked = Array("Example.ORG".utf8)

    @Test func exchangersAreRead() throws {
        let first = Self.record(Self.question, 15, [0, 10] + Self.name("MX1.example.org")), second = Self.record(Self.question, 15, [1, 0, 3] + Array("mx2".utf8) + Self.question)
        let answer = try #require(Answer(Self.message(2, first + second)))
        #expect(answer.records(.mx, of: Self.asked) == [.exchanger(preference: 10, name: Array("mx1.example.org".utf8)), .exchanger(preference: 256, name: Array("mx2.example.org".utf8))])
        #expect(answer.records(.a, of: Self.asked) == [])
        #expect(answer.records(.mx, of: Array("example.com".utf8)) == [])
    }

    @Test func theRootIsAnEmptyName() throws {
        let answer = try #require(Answer(Self.message(1, Self.record(Self.question, 15, [0, 0, 0]))))
        #expect(answer.records(.mx, of: Self.asked) == [.exchanger(preference: 0, name: [])])
    }

    @Test func addressesHaveTheirLength() throws {
        let four = Self.record(Self.question, 1, [192, 0, 2, 1]) + Self.record(Self.question, 1, [192, 0, 2])
        let sixteen = Self.record(Self.question, 28, [UInt8](repeating: 1, count: 16)) + Self.record(Self.question, 28, [1])
        let answer = try #require(Answer(Self.message(4, four + sixteen)))
        #expect(answer.records(.a, of: Self.asked) == [.address([192, 0, 2, 1])])
        #expect(answer.records(.aaaa, of: Self.asked) == [.address([UInt8](repeating: 1, count: 16))])
    }

    private static func string(_ text: [UInt8]) -> [UInt8] { [UInt8(text.count)] + text }

    @Test func stringsOfATextAreJoined() throws {
        let first = [UInt8](repeating: 0x61, count: 255), whole = Self.string(first) + Self.string(Array("b c".utf8)) + Self.string([])
        let answer = try #require(Answer(Self.message(3, Self.record(Self.question, 16, whole) + Self.record(Self.question, 16, [0]) + Self.record(Self.question, 16, [2, 0, 255]))))
        #expect(answer.records(.txt, of: Self.asked) == [.text(first + Array("b c".utf8)), .text([]), .text([0, 255])])
    }

    /// No string at all, one that is longer than the record, a length behind the last.
    @Test(arguments: [[], [1], [2, 0x61], [1, 0x61, 5], [1, 0x61, 255, 0x62]] as [[UInt8]]) func textsThatAreNone(_ data: [UInt8]) throws {
        // What follows in the message is not read as part of it.
        let records = Self.record(Self.question, 16, data) + Self.record(Self.question, 16, Self.string(Array("well".utf8)))
        #expect(try #require(Answer(Self.message(2, records))).records(.txt, of: Self.asked) == [.text(Array("well".utf8))])
    }

    @Test func aTextAsLongAsAMessage() throws {
        let data = [[UInt8]](repeating: Self.string([UInt8](repeating: 0x78, count: 255)), count: 255).flatMap { $0 }
        #expect(try #require(Answer(Self.message(1, Self.record(Self.question, 16, data)))).records(.txt, of: Self.asked) == [.text([UInt8](repeating: 0x78, count: 255 * 255))])
    }

    @Test func textsOfAnAlias() throws {
        let records = Self.record(Self.question, 5, Self.name("a.example")) + Self.record(Self.name("A.example"), 16, Self.string(Array("v=spf1".utf8)))
        #expect(try #require(Answer(Self.message(2, records))).records(.txt, of: Self.asked) == [.text(Array("v=spf1".utf8))])
    }

    @Test func aliasesAreFollowed() throws {
        let records = Self.record(Self.name("b.example"), 1, [192, 0, 2, 1]) + Self.record(Self.question, 5, Self.name("a.example")) + Self.record(Self.name("A.example"), 5, Self.name("B.example"))
        #expect(try #require(Answer(Self.message(3, records))).records(.a, of: Self.asked) == [.address([192, 0, 2, 1])])
    }

    @Test func aliasesInACircleEnd() throws {
        let records = Self.record(Self.question, 5, Self.name("a.example")) + Self.record(Self.name("a.example"), 5, Self.question)
        #expect(try #require(Answer(Self.message(2, records))).records(.a, of: Self.asked) == [])
    }

    /// A record that nobody asked for is nobody's.
    @Test func othersRecordsDoNotCount() throws {
        let records = Self.record(Self.name("other.example"), 1, [192, 0, 2, 1]) + Self.record(Self.question, 1, [192, 0, 2, 2], class: 3)
        #expect(try #require(Answer(Self.message(2, records))).records(.a, of: Self.asked) == [])
    }

    @Test(arguments: [
        [0xc0, 40], [0xc0, 29], [0xc0, 255], [0xff, 0xff], [0x80, 0], [0x40, 0], [63, 1, 2], [],  // Pointers to themselves, ahead, and out; labels of no kind; cut.
    ] as [[UInt8]]) func namesThatAreNone(_ owner: [UInt8]) {
        #expect(Answer(Self.message(1, Self.record(owner, 1, [192, 0, 2, 1]))) == nil)
    }

    @Test func aNameIsNoLongerThanNamesAre() {
        let label: [UInt8] = [63] + [UInt8](repeating: 0x61, count: 63)
        #expect(Answer(Self.message(1, Self.record(label + label + label + [61] + [UInt8](repeating: 0x61, count: 61) + [0], 1, [1, 2, 3, 4]))) != nil)
        #expect(Answer(Self.message(1, Self.record(label + label + label + label + [0], 1, [1, 2, 3, 4]))) == nil)
    }

    @Test func aDotWithinALabelMakesNoOtherName() {
        #expect(Answer(Self.message(1, Self.record([11] + Array("example.org".utf8) + [0], 1, [192, 0, 2, 1]))) == nil)
    }

    /// Cut anywhere, changed anywhere: read or not, it never runs over the end.
    @Test func nothingRunsOverTheEnd() throws {
        let alias = Self.record(Self.question, 5, Self.name("a.example")), exchanger = Self.record(Self.name("a.example"), 15, [0, 10] + Self.question)
        let text = Self.record(Self.name("a.example"), 16, Self.string(Array("a text".utf8)) + Self.string(Array("of two".utf8)))
        let whole = Self.message(4, alias + exchanger + text + Self.record(Self.question, 1, [1, 2, 3, 4]))
        for end in 0..<whole.count { for type in [RecordType.mx, .txt] { _ = Answer(Array(whole[..<end]))?.records(type, of: Self.asked) } }
        for place in whole.indices {
            for value in [0, 1, 0x3f, 0x40, 0x7f, 0xc0, 0xff] as [UInt8] {
                var changed = whole
                changed[place] = value
                for type in [RecordType.a, .mx, .aaaa, .txt] { _ = Answer(changed)?.records(type, of: Self.asked) }
            }
        }
    }
}
