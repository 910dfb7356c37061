// The search for CR and LF, sixteen octets at a time, against looking at each.
import Testing
@testable import Mail

@Suite struct LineEndTests {
    private func find(_ octets: [UInt8]) -> Int { octets.withUnsafeBytes { LineEnd.find(in: $0) } }

    @Test func everyPlaceInEveryLength() {
        for length in 0...70 {
            #expect(find([UInt8](repeating: 0x61, count: length)) == length)
            for place in 0..<length {
                for end: UInt8 in [0x0d, 0x0a] {
                    var octets = [UInt8](repeating: 0x61, count: length)
                    octets[place] = end
                    #expect(find(octets) == place)
                    octets[length - 1] = end
                    #expect(find(octets) == place)
                }
            }
        }
    }

    @Test func noOtherOctetIsTakenForOne() {
        let octets = (UInt8(0)...255).filter { $0 != 0x0d && $0 != 0x0a }
        #expect(find(octets) == octets.count)
        for octet in octets { #expect(find([octet]) == 1) }
    }

    /// A buffer is rarely aligned to sixteen.
    @Test func atEveryAlignment() {
        let octets = [UInt8](repeating: 0x61, count: 100) + [0x0a]
        octets.withUnsafeBytes { bytes in
            for start in 0..<32 { #expect(LineEnd.find(in: UnsafeRawBufferPointer(rebasing: bytes[start...])) == 100 - start) }
        }
    }
}
