// The queue over the last day, for administrators: how many messages waited, how many were delivered, what went wrong.
import Hummingbird
import Unix

enum QueuePage {
    private static let spanSeconds = 900
    private static let spans = 96
    private static let mostTroubles = 20

    struct View: Sendable {
        struct Trouble: Sendable {
            let id: String
            let kind: String
            let kindName: String
            let to: String
            let at: Moment
            let words: String
        }

        let now: String
        /// SVG, made here.
        let depth: String
        let deliveries: String
        let troubles: [Trouble]
        let hasTroubles: Bool
    }

    @Sendable static func show(_ visit: Visit) async throws -> Response {
        let portal = visit.portal, words = visit.words
        let owner = try visit.person().owner
        // Spans end at whole quarters of an hour, so that the picture does not tremble.
        let now = (Clock.seconds() / spanSeconds + 1) * spanSeconds
        let (depth, deliveries, troubles) = try await portal.reading.pass(owner) {
            try await portal.blocking {
                let text = (try? Path.contents(portal.home.run + "/depth", limit: 1 << 20)) ?? []
                return (
                    QueueDepth(String(decoding: text, as: UTF8.self)), try portal.logs.deliveries(before: now, spans: spans, spanSeconds: spanSeconds),
                    try portal.logs.troubles(most: mostTroubles)
                )
            }
        }
        let rows = troubles.map { id, event in
            View.Trouble(
                id: id, kind: event.kind.rawValue, kindName: words(event.kind == .failed ? "queue.failed" : "queue.deferred"), to: event.to,
                at: Moment(event.seconds, words), words: (event.host.isEmpty ? "" : event.host + ": ") + event.words)
        }
        let view = View(
            now: depth.samples.last.map { words.count("queue.now", $0.messages) } ?? words("queue.nowUnknown"),
            depth: plotOfDepth(depth.deepest(before: now, spans: spans, spanSeconds: spanSeconds), now, words), deliveries: plotOfDeliveries(deliveries, now, words),
            troubles: rows, hasTroubles: !rows.isEmpty)
        return visit.page("queue", title: words("queue.title"), view, here: "/admin")
    }

    private static func plotOfDepth(_ spans: [Int?], _ now: Int, _ words: Words) -> String {
        let most = spans.compactMap { $0 }.max()
        let text = most.map { words("queue.depthText", "\($0)") } ?? words("queue.noData")
        return Plot(title: words("queue.depth"), text: text, series: [Plot.Series(name: "depth", values: spans.map { $0.map(Double.init) })], end: now, spanSeconds: spanSeconds, words).svg
    }

    private static func plotOfDeliveries(_ counts: [DeliveryCount], _ now: Int, _ words: Words) -> String {
        func total(_ part: (DeliveryCount) -> Int) -> String { "\(counts.reduce(0) { $0 + part($1) })" }
        let text = words("queue.deliveriesText", total(\.delivered), total(\.deferred), total(\.failed))
        let series = [("delivered", \DeliveryCount.delivered), ("deferred", \.deferred), ("failed", \.failed)].map { name, part in
            Plot.Series(name: name, values: counts.map { Double($0[keyPath: part]) })
        }
        return Plot(title: words("queue.deliveries"), text: text, series: series, end: now, spanSeconds: spanSeconds, words).svg
    }
}
