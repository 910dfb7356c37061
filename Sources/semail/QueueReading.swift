// The queue, read and not touched: one message at a time, whatever its length. Messages move while we look; one that is gone
// when we come to it has been dealt with and is passed over.
import Mail
import Queue
import Unix

/// A message as it waits.
struct Waiting {
    let id: QueueID
    let place: QueueStore.Place
    /// nil: the file is no message of ours.
    let envelope: Envelope?
    /// Where in the file the message begins.
    let messageOffset: Int
    /// Octets of the message, the envelope not counted.
    let size: Int
    /// Seconds since 1970.
    let arrival: Int

    var state: String {
        switch place {
        case .new: "new"
        case .later: "later"
        case .hold: "hold"
        }
    }

    var shownState: String { envelope == nil ? "malformed" : state }

    /// Seconds since 1970; nil when it is not waiting for a time.
    var nextTry: Int? { if case .later(let minute) = place { minute * 60 } else { nil } }

    var sender: String { envelope.map { $0.sender?.text ?? "<>" } ?? "?" }
    var recipients: [Address] { envelope?.recipients.filter(\.isWaiting).map(\.address) ?? [] }
    func age(_ now: Int) -> Int { max(0, now - arrival) }

    static func read(_ store: borrowing QueueStore, _ id: QueueID, _ place: QueueStore.Place) throws(SystemError) -> Waiting? {
        let name = place.text + "/" + id.text
        do throws(SystemError) {
            let status = try store.root.status(name)
            // Nothing else is ours, and a FIFO would keep us waiting for ever.
            guard status.isRegular else { return Waiting(id, place, nil, 0, status) }
            let file = try store.root.open(name)
            var text = try IO.readAll(file.raw, limit: 4096)
            while true {
                switch Envelope.read(text) {
                case .envelope(let envelope, let offset): return Waiting(id, place, envelope, offset, status)
                case .malformed: return Waiting(id, place, nil, 0, status)
                case .incomplete:
                    let more = try IO.readAll(file.raw, from: text.count, limit: min(Envelope.sizeLimit - text.count, 65536))
                    if more.isEmpty { return Waiting(id, place, nil, 0, status) }
                    text += more
                }
            }
        } catch {
            if error.isMissing { return nil }
            throw error
        }
    }

    private init(_ id: QueueID, _ place: QueueStore.Place, _ envelope: Envelope?, _ offset: Int, _ status: IO.Status) {
        self.id = id
        self.place = place
        self.envelope = envelope
        messageOffset = offset
        size = status.size - offset
        arrival = envelope.map { $0.received / 1_000_000 } ?? status.modified
    }

    /// The header section, at most 64 KB of it.
    func headers(_ store: borrowing QueueStore) throws(SystemError) -> [UInt8] {
        guard envelope != nil else { return [] }
        let file = try store.root.open(place.text + "/" + id.text)
        let text = try IO.readAll(file.raw, from: messageOffset, limit: 65536)
        if text.first == 0x0a { return [] }
        let end = zip(text, text.dropFirst()).enumerated().first { $0.element.0 == 0x0a && $0.element.1 == 0x0a }
        return end.map { Array(text[...$0.offset]) } ?? text
    }

    var members: [(String, JSON)] {
        [
            ("id", .string(id.text)), ("state", .string(state)), ("received", .time(arrival)), ("size", .number(size)),
            ("sender", envelope.map { .octets($0.sender?.bytes ?? []) } ?? .null), ("recipients", .list(recipients.map { .octets($0.bytes) })),
            ("nextTry", .time(nextTry)), ("isMalformed", .bool(envelope == nil)),
        ]
    }
}

extension QueueStore {
    /// Every message: new ones, those set aside, and the others by the time they are due.
    borrowing func forEach(_ body: (Waiting) throws -> Void) throws {
        let places = [Place.new, .hold] + (try minutes().map { .later(minute: $0) })
        for place in places {
            let names: Listing
            do throws(SystemError) { names = try list(place) } catch {
                if error.isMissing { continue }
                throw error
            }
            while let name = names.next() {
                if let id = QueueID(name), let waiting = try Waiting.read(self, id, place) { try body(waiting) }
            }
        }
    }
}
