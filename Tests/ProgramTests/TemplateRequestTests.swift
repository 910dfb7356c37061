// The datagram by which a starter asks its template for a process: whatever strings go in come out, empty ones too.
import Testing
@testable import Program

@Suite struct TemplateRequestTests {
    private func roundTrip(_ arguments: [[UInt8]], _ environment: [String], tag: UInt64 = 7) throws -> TemplateRequest {
        let bytes = TemplateRequest(arguments: arguments, environment: environment, descriptors: []).encoded(tag: tag)
        let (gotTag, request) = try #require(TemplateRequest.decode(bytes, [3, 4]))
        #expect(gotTag == (0..<8).map { UInt8(truncatingIfNeeded: tag >> (8 * $0)) })
        #expect(request.descriptors == [3, 4])
        return request
    }

    static let words: [[[UInt8]]] = [
        [], [[]], [[], []], [[0x61]], [[0x61], [], [0x62]], [[], [0x61]], [[0x61], []], [[0xff, 0x80, 0x0a]], Array(repeating: Array("\"a b\"@example.org".utf8), count: 300),
    ]

    @Test(arguments: words, [[], ["A=1"], ["A=", "B=x y", "C=ü"], [""]] as [[String]])
    func whatGoesInComesOut(arguments: [[UInt8]], environment: [String]) throws {
        let request = try roundTrip(arguments, environment)
        #expect(request.arguments == arguments)
        #expect(request.environment == environment)
    }

    /// The null sender is an empty argument between others: it must neither vanish nor move the rest.
    @Test func theNullSenderKeepsItsPlace() throws {
        let request = try roundTrip([[0x75], [], [0x72]], ["X=1"])
        #expect(request.arguments.count == 3)
        #expect(request.arguments[1].isEmpty)
    }

    @Test(arguments: [0, 1, 255, 256, UInt64.max, 0x0102_0304_0506_0708]) func tags(tag: UInt64) throws { _ = try roundTrip([], [], tag: tag) }

    @Test func whatIsTooShortIsRefused() {
        let bytes = TemplateRequest(arguments: [[0x61]], environment: [], descriptors: []).encoded(tag: 1)
        for count in 0..<10 { #expect(TemplateRequest.decode(Array(bytes[..<count]), []) == nil) }
    }

    @Test func moreArgumentsThanStringsAreRefused() {
        #expect(TemplateRequest.decode([0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0x61, 0], []) == nil)
        #expect(TemplateRequest.decode([0, 0, 0, 0, 0, 0, 0, 0, 255, 255], []) == nil)
    }

    /// qrunner's largest batch, each address of the greatest length, fits one datagram of a unix socket (Linux grants 208 KB).
    @Test func theLargestBatchFits() throws {
        let address = [UInt8](repeating: 0x61, count: 321)
        let request = TemplateRequest(arguments: Array(repeating: address, count: 3 + 2 * 50), environment: Array(repeating: "TCPREMOTEIP=2001:db8::1", count: 100), descriptors: [])
        #expect(request.encoded(tag: 1).count <= 128 * 1024)
    }
}
