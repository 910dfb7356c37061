// What an admin may order about a message, wherever it is.
import Mail
import Queue
import Testing
import Unix

@Suite struct QueueOrderTests {
    private func at(_ place: QueueStore.Place, _ order: QueueOrder) throws -> (result: QueueOrder.Result, place: QueueStore.Place?, files: [String], id: String) {
        let home = try QueueHome(), store = try home.store()
        let id = try home.add()
        if place != .new { try store.move(id, from: .new, to: place) }
        return (try order.apply(to: id, in: store), try store.find(id), try home.files, id.text)
    }

    static let later = QueueStore.Place.later(minute: 5)

    @Test(arguments: [QueueStore.Place.new, later]) func hold(place: QueueStore.Place) throws {
        let (result, now, files, id) = try at(place, .hold)
        #expect(result == .done(at: nil))
        #expect(now == .hold)
        #expect(files == ["hold/\(id)"])
    }

    @Test func release() throws {
        let before = Clock.seconds() / 60
        let (result, now, _, _) = try at(.hold, .release)
        let after = Clock.seconds() / 60
        // Due at once, and among those that may have been tried before.
        #expect((before...after).contains { result == .done(at: .later(minute: $0)) && now == .later(minute: $0) })
    }

    @Test(arguments: [QueueStore.Place.new, later]) func retry(place: QueueStore.Place) throws {
        let (result, now, _, _) = try at(place, .retry)
        #expect(result == .done(at: place))
        #expect(now == place)
    }

    @Test(arguments: [QueueStore.Place.new, later, .hold]) func delete(place: QueueStore.Place) throws {
        let (result, now, files, _) = try at(place, .delete)
        #expect(result == .done(at: nil))
        #expect(now == nil)
        #expect(files == [])
    }

    @Test(arguments: [(QueueStore.Place.hold, QueueOrder.hold), (.hold, .retry), (.new, .release), (later, .release)]) func whatChangesNothingIsSaid(place: QueueStore.Place, order: QueueOrder) throws {
        let (result, now, _, id) = try at(place, order)
        guard case .unchanged(let sentence) = result else { Issue.record("\(result)"); return }
        #expect(sentence.contains(id))
        #expect(now == place)
    }

    @Test(arguments: QueueOrder.allCases) func whatIsNotThereIsMissing(order: QueueOrder) throws {
        let home = try QueueHome(), store = try home.store()
        #expect(try order.apply(to: QueueID("0123456789abcdef")!, in: store) == .missing)
    }

    /// The last message of a minute takes its directory along.
    @Test(arguments: [QueueOrder.hold, .delete]) func emptiedMinutesGo(order: QueueOrder) throws {
        let home = try QueueHome(), store = try home.store()
        let first = try home.add(), second = try home.add()
        for id in [first, second] { try store.move(id, from: .new, to: Self.later) }
        _ = try order.apply(to: first, in: store)
        #expect(try store.minutes() == [5])
        _ = try order.apply(to: second, in: store)
        #expect(try store.minutes() == [])
    }
}
