// The queue as its owner sees it. A message is one file, and where the file is says what it waits for:
//
//     new/ID             accepted, not yet tried
//     later/MINUTE/ID    tried; due when the minute (since 1970) has come
//     hold/ID            set aside by the admin
//     reason/ID          what was said at the last try; for people, may be missing
//
// Every move is one rename, link or unlink. What each recipient has got stands in the file itself, a mark of one octet.
import Mail
import Unix

public struct QueueStore: ~Copyable {
    /// Where a message is.
    public enum Place: Hashable, Sendable {
        case new
        case later(minute: Int)
        case hold

        public var text: String {
            switch self {
            case .new: "new"
            case .later(let minute): "later/\(minute)"
            case .hold: "hold"
            }
        }
    }

    public let root: Directory

    public init(_ path: String) throws(SystemError) { root = try Directory(path) }

    /// The lock that says who decides about messages; nil while another holds it.
    public func lock() throws(SystemError) -> Descriptor? {
        let file = try root.open("lock", .append)
        guard Process.lock(file) else { return nil }
        return consume file
    }

    /// A message's file, its envelope, and the offset of the message in it; nil if the file is none of ours.
    public func open(_ id: QueueID, _ place: Place) throws(SystemError) -> OpenMessage? {
        let file = try root.open(place.text + "/" + id.text, .readWrite)
        var text = try IO.readAll(file.raw, limit: 4096)
        while true {
            switch Envelope.read(text) {
            case .envelope(let envelope, let offset):
                let status = try IO.status(file.raw)
                return OpenMessage(
                    id: id, place: place, envelope: envelope, mayLeave: status.mode & QueueEntrance.leavingBit != 0, messageOffset: offset,
                    size: status.size - offset, file: file)
            case .malformed: return nil
            case .incomplete:
                let more = try IO.readAll(file.raw, from: text.count, limit: min(Envelope.sizeLimit - text.count, 65536))
                if more.isEmpty { return nil }
                text += more
            }
        }
    }

    /// Puts the file where it is found at the time.
    public func move(_ id: QueueID, from place: Place, to target: Place) throws(SystemError) {
        if case .later(let minute) = target {
            do throws(SystemError) { try root.makeDirectory("later/\(minute)", mode: 0o700) } catch { if !error.isExisting { throw error } }
        }
        try root.rename(place.text + "/" + id.text, to: root, as: target.text + "/" + id.text)
    }

    /// The message is forgotten: everybody has got it, or a bounce says who has not.
    public func remove(_ id: QueueID, from place: Place) throws(SystemError) {
        try root.remove(place.text + "/" + id.text)
        if place != .new { try? root.remove("reason/" + id.text) }
    }

    /// Notes for people what was said at the last try.
    public func note(_ id: QueueID, _ lines: [UInt8]) {
        try? root.remove("reason/" + id.text)
        guard let file = try? root.create("reason/" + id.text, mode: 0o600) else { return }
        try? IO.writeAll(file.raw, lines)
    }

    public func reason(_ id: QueueID) -> [UInt8] { (try? root.contents("reason/" + id.text, limit: 65536)) ?? [] }

    /// The names in a place, one at a time.
    public func list(_ place: Place) throws(SystemError) -> Listing { try root.directory(place.text).list() }

    /// The minutes for which messages wait, in order.
    public func minutes() throws(SystemError) -> [Int] {
        let listing = try root.directory("later").list()
        var result: [Int] = []
        while let name = listing.next() { if let minute = Int(name) { result.append(minute) } }
        return result.sorted()
    }

    /// Where a message is now.
    public func find(_ id: QueueID) throws(SystemError) -> Place? {
        for place in [.new, .hold] + (try minutes().map { Place.later(minute: $0) }) {
            if (try? root.status(place.text + "/" + id.text)) != nil { return place }
        }
        return nil
    }

    /// An emptied minute goes; one that still holds a message stays.
    public func removeMinute(_ minute: Int) { try? root.removeDirectory("later/\(minute)") }
}

/// A message of the queue, open.
public struct OpenMessage: ~Copyable {
    public let id: QueueID
    public let place: QueueStore.Place
    public let envelope: Envelope
    /// It came in where messages for other hosts may: what the envelope says of that, a session could have made up.
    public let mayLeave: Bool
    /// Where in the file the message begins.
    public let messageOffset: Int
    /// Octets of the message, the envelope not counted.
    public let size: Int
    public let file: Descriptor

    /// Records what a recipient waits for now. One octet, overwritten in place: a power cut leaves the old or the new.
    public func mark(_ recipient: Envelope.Recipient, _ mark: Envelope.Mark) throws(SystemError) {
        try IO.write(file.raw, [mark.rawValue], at: recipient.markOffset)
    }

    /// The message as it came, at most `limit` octets; nil: it has more.
    public func whole(limit: Int) throws(SystemError) -> [UInt8]? { size > limit ? nil : try IO.readAll(file.raw, from: messageOffset, limit: limit) }

    /// The same file once more, with a position of its own, placed at the message.
    public func reopen(in store: borrowing QueueStore) throws(SystemError) -> Descriptor {
        let again = try store.root.open(place.text + "/" + id.text)
        try IO.seek(again.raw, to: messageOffset)
        return again
    }

    /// The header section, at most 64 KB of it.
    public func headers() throws(SystemError) -> [UInt8] {
        let text = try IO.readAll(file.raw, from: messageOffset, limit: 65536)
        var previous: UInt8 = 0x0a
        for (index, byte) in text.enumerated() {
            if byte == 0x0a, previous == 0x0a { return Array(text[..<index]) }
            previous = byte
        }
        return text
    }
}
