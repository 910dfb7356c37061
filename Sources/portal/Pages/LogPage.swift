// What became of the messages that a person sent and received lately, and of each in full.
import Control
import Hummingbird

enum LogPage {
    private static let most = 100

    struct List: Sendable {
        struct Row: Sendable {
            let id: String
            let state: String
            let stateName: String
            let who: String
            let accepted: Moment
        }

        let stories: [Row]
        let hasStories: Bool
    }

    struct Message: Sendable {
        struct Event: Sendable {
            let kind: String
            let at: Moment
            let what: String
            let to: String?
            let words: String?
        }

        let id: String
        let heading: String
        let state: String
        let stateName: String
        let events: [Event]
        let canChange: Bool
    }

    @Sendable static func show(_ visit: Visit) async throws -> Response {
        let words = visit.words
        let rows = try await stories(visit, most: most).map { story in
            List.Row(id: story.id, state: story.state.rawValue, stateName: words(stateName(story.state)), who: who(story, words), accepted: Moment(story.accepted, words))
        }
        return visit.page("log", title: words("log.title"), List(stories: rows, hasStories: !rows.isEmpty))
    }

    @Sendable static func showMessage(_ visit: Visit) async throws -> Response {
        let story = try await story(visit), words = visit.words
        let accepted = Message.Event(kind: "accepted", at: Moment(story.accepted, words), what: words("log.accepted"), to: nil, words: nil)
        let view = Message(
            id: story.id, heading: words(story.isSent ? "log.sentTitle" : "log.receivedTitle"), state: story.state.rawValue, stateName: words(stateName(story.state)),
            events: [accepted] + story.events.map { event($0, words) }, canChange: canChange(story))
        return visit.page("message", title: view.heading, view, here: "/log")
    }

    /// Cancels or retries a message that waits: of the person's own, as the log tells; provision asks the queue once more whose it is.
    @Sendable static func change(_ visit: Visit) async throws -> Response {
        let order = visit.form["do"]
        guard ["retry", "cancel"].contains(order) else { throw Refusal.malformed }
        let story = try await story(visit)
        guard canChange(story) else { throw Refusal(.conflict, "code.no-message") }
        return .seeOther("/progress/\(try await visit.portal.requests.ask(order, owner: try visit.person().owner, by: visit.client, [("id", story.id)]))")
    }

    private static func canChange(_ story: MessageStory) -> Bool { story.isSent && (story.state == .waiting || story.state == .held) }

    /// Somebody else's message is none.
    private static func story(_ visit: Visit) async throws -> MessageStory {
        let id = visit.parameter("id")
        guard let story = try await stories(visit, most: Int.max).first(where: { $0.id == id }) else { throw Refusal.notFound }
        return story
    }

    private static func stories(_ visit: Visit, most: Int) async throws -> [MessageStory] {
        let owner = try visit.person().owner, portal = visit.portal
        guard let entry = try portal.register.entry(of: owner) else { return [] }
        return try await portal.reading.pass(owner) {
            try await portal.blocking { try portal.logs.stories(of: entry.address, container: entry.mailbox?.keep.container, since: entry.mailbox?.keep.since ?? 0, most: most) }
        }
    }

    private static func who(_ story: MessageStory, _ words: Words) -> String {
        guard story.isSent else { return words("log.received") }
        let recipients = story.recipients
        guard let first = recipients.first else { return words("log.sent") }
        return recipients.count == 1 ? words("log.to", first) : words.count("log.toMany", recipients.count - 1, first)
    }

    private static func stateName(_ state: MessageStory.State) -> String {
        switch state {
        case .delivered: "log.stateDelivered"
        case .waiting: "log.stateWaiting"
        case .held: "log.stateHeld"
        case .failed: "log.stateFailed"
        case .cancelled: "log.stateCancelled"
        }
    }

    private static func event(_ event: MessageEvent, _ words: Words) -> Message.Event {
        let what = switch event.kind {
        case .delivered: words("log.delivered")
        case .relayed: words("log.relayed", event.host)
        case .deferred: event.host.isEmpty ? words("log.deferred") : words("log.deferredBy", event.host)
        case .failed: event.host.isEmpty ? words("log.failed") : words("log.failedBy", event.host)
        case .reported: words("log.reported")
        case .ordered: words(["hold": "log.orderHold", "release": "log.orderRelease", "delete": "log.orderDelete"][event.action] ?? "log.orderRetry")
        }
        return Message.Event(
            kind: event.kind.rawValue, at: Moment(event.seconds, words), what: what, to: event.to.isEmpty ? nil : event.to, words: event.words.isEmpty ? nil : event.words)
    }
}
