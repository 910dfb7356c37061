// How many may do the same costly thing at once: all together, and each.

actor Gate {
    private let most: Int
    private let mostOfOne: Int
    private var running: [String: Int] = [:]
    private var total = 0

    init(most: Int, mostOfOne: Int) {
        self.most = most
        self.mostOfOne = mostOfOne
    }

    /// `who`: a client's address, or a person. Throws when there are too many.
    func enter(_ who: String) throws(Refusal) {
        guard total < most, running[who, default: 0] < mostOfOne else { throw .busy }
        total += 1
        running[who, default: 0] += 1
    }

    func leave(_ who: String) {
        guard let count = running[who] else { return }
        total -= 1
        running[who] = count == 1 ? nil : count - 1
    }

    nonisolated func pass<Result: Sendable>(_ who: String, _ body: @Sendable () async throws -> Result) async throws -> Result {
        try await enter(who)
        do {
            let result = try await body()
            await leave(who)
            return result
        } catch {
            await leave(who)
            throw error
        }
    }
}
