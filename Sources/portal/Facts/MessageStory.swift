// What happened to one message, put together from lines of the log. Pure.
import Queue

/// One line of qrunner's about a message.
struct MessageEvent: Sendable, Equatable {
    enum Kind: String, Sendable { case delivered, relayed, deferred, failed, reported, ordered }

    let kind: Kind
    let seconds: Int
    /// The recipient; of a report, who gets it.
    let to: String
    let host: String
    /// The other host's words, or ours.
    let words: String
    /// Of a report: what it tells. Of an order: what was ordered.
    let action: String

    init?(_ line: LogLine) {
        guard line.program == "qrunner", let kind = Kind(rawValue: line.event) else { return nil }
        self.kind = kind
        seconds = line.seconds
        to = line["to"] ?? ""
        host = line["host"] ?? ""
        words = line["answer"] ?? line["reason"] ?? ""
        action = line["action"] ?? line["order"] ?? ""
    }
}

struct MessageStory: Sendable, Equatable {
    enum State: String, Sendable { case delivered, waiting, held, failed, cancelled }

    let id: String
    /// By the person who looks; else it came for them.
    let isSent: Bool
    /// Seconds since 1970.
    let accepted: Int
    private(set) var events: [MessageEvent] = []

    init(id: String, isSent: Bool, accepted: Int) {
        self.id = id
        self.isSent = isSent
        self.accepted = accepted
    }

    mutating func add(_ event: MessageEvent) { events.append(event) }

    /// By the last word about each recipient, and the worst of these.
    var state: State {
        var last: [String: MessageEvent.Kind] = [:]
        var order = ""
        for event in events {
            switch event.kind {
            case .ordered: order = event.action
            case .reported: continue
            default: last[event.to] = event.kind
            }
        }
        if order == "delete" || order == "cancel" { return .cancelled }
        let isWaiting = last.isEmpty || last.values.contains(.deferred)
        if isWaiting, order == "hold" { return .held }
        if isWaiting { return .waiting }
        return last.values.contains(.failed) ? .failed : .delivered
    }

    /// Whom it was for, as far as the log tells.
    var recipients: [String] {
        events.reduce(into: []) { found, event in
            if event.kind != .reported, event.kind != .ordered, !found.contains(event.to) { found.append(event.to) }
        }
    }
}

/// Recipients of a span of time, by what became of their mail.
struct DeliveryCount: Sendable, Equatable {
    var delivered = 0
    var deferred = 0
    var failed = 0

    mutating func add(_ kind: MessageEvent.Kind) {
        switch kind {
        case .delivered, .relayed: delivered += 1
        case .deferred: deferred += 1
        case .failed: failed += 1
        case .reported, .ordered: break
        }
    }
}

extension QueueID {
    /// When the message was accepted, in seconds since 1970: the first eleven digits are that, to the base of 32. nil: they are not.
    var seconds: Int? {
        let digits = Array("0123456789abcdefghjkmnpqrstvwxyz".utf8)
        return text.utf8.prefix(11).reduce(Int?.some(0)) { value, byte in
            value.flatMap { value in digits.firstIndex(of: byte).map { value << 5 | $0 } }
        }.map { $0 / 1_000_000 }
    }
}
