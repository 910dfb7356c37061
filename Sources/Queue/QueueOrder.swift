// What an admin may order about one message. qrunner carries it out while it runs; without it, the command itself does,
// under the queue's lock.
import Unix

public enum QueueOrder: String, Sendable, CaseIterable {
    case hold, release, retry, delete

    public enum Result: Equatable {
        /// `at`: where it now waits to be tried at once.
        case done(at: QueueStore.Place?)
        case missing
        case unchanged(String)
    }

    public func apply(to id: QueueID, in store: borrowing QueueStore) throws(SystemError) -> Result {
        guard let place = try store.find(id) else { return .missing }
        switch self {
        case .hold:
            if place == .hold { return .unchanged("\(id.text) is held already") }
            try store.move(id, from: place, to: .hold)
            tidy(place, store)
            return .done(at: nil)
        case .release:
            if place != .hold { return .unchanged("\(id.text) is not held") }
            // Not back to new: it may have been tried before it was held, and later says so.
            let due = QueueStore.Place.later(minute: Clock.seconds() / 60)
            try store.move(id, from: place, to: due)
            return .done(at: due)
        case .retry:
            if place == .hold { return .unchanged("\(id.text) is held; release it first") }
            return .done(at: place)
        case .delete:
            try store.remove(id, from: place)
            tidy(place, store)
            return .done(at: nil)
        }
    }

    private func tidy(_ place: QueueStore.Place, _ store: borrowing QueueStore) {
        if case .later(let minute) = place { store.removeMinute(minute) }
    }
}
