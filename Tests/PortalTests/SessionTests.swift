// How long a session lives, and how many there can be.
import Synchronization
import Testing

@testable import portal

/// A clock that stands until it is told.
private final class Hand: Sendable {
    private let time = Atomic<Int>(1_000_000)
    var now: Int { time.load(ordering: .relaxed) }
    func pass(minutes: Int) { time.add(minutes * 60_000, ordering: .relaxed) }
}

@Suite struct SessionTests {
    private func make() -> (Sessions, Hand) {
        let hand = Hand()
        return (Sessions(now: { hand.now }), hand)
    }

    @Test func idleOnesEnd() async {
        let (sessions, hand) = make()
        let session = await sessions.begin(owner: "ssow", isAdministrator: false)
        hand.pass(minutes: 29)
        #expect(await sessions.find(session.id, touching: true)?.owner == "ssow")
        hand.pass(minutes: 29)
        // What the page asks by itself is no click.
        #expect(await sessions.find(session.id, touching: false) != nil)
        hand.pass(minutes: 1)
        #expect(await sessions.find(session.id, touching: true) == nil)
    }

    @Test func noneOutlivesHalfADay() async {
        let (sessions, hand) = make()
        let session = await sessions.begin(owner: "ssow", isAdministrator: false)
        for _ in 0..<71 {
            hand.pass(minutes: 10)
            #expect(await sessions.find(session.id, touching: true) != nil)
        }
        hand.pass(minutes: 10)
        #expect(await sessions.find(session.id, touching: true) == nil)
    }

    @Test func onePersonHasSoManyAndTheOldestGoes() async {
        let (sessions, hand) = make()
        let first = await sessions.begin(owner: "ssow", isAdministrator: false)
        let other = await sessions.begin(owner: "xredon", isAdministrator: false)
        for _ in 0..<20 {
            hand.pass(minutes: 1)
            _ = await sessions.begin(owner: "ssow", isAdministrator: false)
        }
        #expect(await sessions.count(of: "ssow") == 20)
        #expect(await sessions.find(first.id, touching: true) == nil)
        #expect(await sessions.find(other.id, touching: true) != nil)
        #expect(await sessions.endAll(of: "ssow") == 20)
        #expect(await sessions.count(of: "ssow") == 0)
        #expect(await sessions.find(other.id, touching: true) != nil)
    }

    @Test func aGateLetsSoManyThrough() async throws {
        let gate = Gate(most: 3, mostOfOne: 2)
        try await gate.enter("a")
        try await gate.enter("a")
        await #expect(throws: Refusal.busy) { try await gate.enter("a") }
        try await gate.enter("b")
        await #expect(throws: Refusal.busy) { try await gate.enter("c") }
        await gate.leave("a")
        #expect(try await gate.pass("c") { 7 } == 7)
        await #expect(throws: Refusal.notFound) { try await gate.pass("c") { throw Refusal.notFound } }
        try await gate.enter("c")
    }
}
