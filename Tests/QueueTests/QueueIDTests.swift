// Names of messages: sorted by age, never the same, and nothing else taken for one.
import Queue
import Testing

@Suite struct QueueIDTests {
    @Test func sixteenOctetsOfTheAlphabet() {
        let alphabet = Set("0123456789abcdefghjkmnpqrstvwxyz")
        for time in [0, 1, 1_795_467_913_000_042, (1 << 55) - 1] {
            let text = QueueID.make(microseconds: time).text
            #expect(text.utf8.count == 16)
            #expect(text.allSatisfy { alphabet.contains($0) })
            #expect(QueueID(text)?.text == text)
        }
    }

    @Test func namesSortByAge() {
        var numbers = SystemRandomNumberGenerator()
        // From now on to the end of the eleven digits, in the year 3111.
        var previous = 1_795_467_913_000_042
        for _ in 0..<1000 {
            let time = previous + Int.random(in: 1...30_000_000_000_000, using: &numbers)
            #expect(QueueID.make(microseconds: previous).text < QueueID.make(microseconds: time).text)
            previous = time
        }
        for bit in 0..<54 { #expect(QueueID.make(microseconds: (1 << bit) - 1).text.prefix(11) < QueueID.make(microseconds: 1 << bit).text.prefix(11)) }
    }

    @Test func ofOneMicrosecondEachIsAnother() {
        let names = Set((0..<200).map { _ in QueueID.make(microseconds: 1_795_467_913_000_042) })
        #expect(names.count >= 199)
        // The same time, another end.
        #expect(Set(names.map { $0.text.prefix(11) }).count == 1)
    }

    @Test(arguments: ["", "0", "0123456789abcde", "0123456789abcdefg", "0123456789ABCDEF", "0123456789abcd/f", "0123456789abcd.f", "../../../../etc/x", "0123456789abcde\n", "0123456789abcdé", "0123456789abcde\0", "                "])
    func nothingElseIsOne(text: String) { #expect(QueueID(text) == nil) }
}
