// The octets nobody has looked at yet: in the order they came, none lost, whatever is read and taken in between.
import Testing
@testable import SMTP

@Suite struct InputBufferTests {
    @Test func whatGoesInComesOut() {
        var numbers = RepeatableNumbers(state: 4)
        let buffer = InputBuffer(capacity: 32)
        var expected: [UInt8] = []
        var next: UInt8 = 0
        for _ in 0..<20_000 {
            if Bool.random(using: &numbers), expected.count < 32 {
                let hasGot = buffer.fill { room in
                    let count = min(room.count, Int.random(in: 1...9, using: &numbers))
                    for index in 0..<count {
                        room[index] = next
                        expected.append(next)
                        next &+= 1
                    }
                    return count
                }
                #expect(hasGot)
            } else {
                let count = Int.random(in: 0...expected.count, using: &numbers)
                buffer.drop(count)
                expected.removeFirst(count)
            }
            guard Array(buffer.contents) == expected, buffer.count == expected.count, buffer.isEmpty == expected.isEmpty else {
                Issue.record("\(Array(buffer.contents)) is not \(expected)")
                return
            }
        }
    }

    @Test func aLargerOneKeepsWhatIsThere() {
        let buffer = InputBuffer(capacity: 4)
        _ = buffer.fill { $0.copyBytes(from: [1, 2, 3, 4]); return 4 }
        #expect(buffer.hasNoRoom)
        buffer.drop(1)
        buffer.grow(to: 8)
        #expect(!buffer.hasNoRoom)
        #expect(Array(buffer.contents) == [2, 3, 4])
        let hasGot = buffer.fill { $0.copyBytes(from: [5, 6, 7, 8, 9]); return 5 }
        #expect(hasGot)
        #expect(Array(buffer.contents) == [2, 3, 4, 5, 6, 7, 8, 9])
        #expect(buffer.hasNoRoom)
    }

    @Test func theEndIsTold() {
        let hasGot = InputBuffer().fill { _ in 0 }
        #expect(!hasGot)
    }

    @Test func errorsPassThrough() {
        struct Trouble: Error {}
        let buffer = InputBuffer()
        #expect(throws: Trouble.self) { try buffer.fill { _ in throw Trouble() } }
        #expect(buffer.isEmpty)
    }
}
