// The records that a domain of one's own should have, each with what the DNS says just now.
import Hummingbird

enum RecordsPage {
    struct View: Sendable {
        struct Row: Sendable {
            let id: String
            let state: String
            let stateName: String
            let kindName: String
            let meaning: String
            let name: String
            let type: String
            let wanted: String
            let found: String?
        }

        let domain: String
        let records: [Row]
        let isWaiting: Bool
    }

    /// Whether the person, and not provision, sets the records of the domain.
    static func isOwn(_ domain: String, _ offer: PortalSettings.Offer) -> Bool {
        offer.domain.isEmpty || domain != offer.domain && !domain.hasSuffix("." + offer.domain)
    }

    @Sendable static func show(_ visit: Visit) async throws -> Response {
        let owner = try visit.person().owner, portal = visit.portal
        guard let entry = try portal.register.entry(of: owner), try isOwn(entry.domain, portal.settings.offer()) else { throw Refusal.notFound }
        let host = try portal.settings.hostname
        let records = try await portal.reading.pass(owner) {
            try await portal.domains.records(of: entry.domain, host: host, signatures: portal.register.signatures(of: entry.domain), portal)
        }
        let words = visit.words
        let rows = records.enumerated().map { number, record in
            View.Row(
                id: "record-\(number)", state: record.state.rawValue, stateName: words("records.state.\(record.state.rawValue)"), kindName: record.kind.uppercased(),
                meaning: Words.knows("records." + record.kind) ? words("records." + record.kind) : "", name: record.name,
                type: record.kind == "mx" ? "MX" : "TXT", wanted: record.state == .ok && !record.found.isEmpty ? record.found : record.wanted, found: record.state == .ok || record.found.isEmpty ? nil : record.found)
        }
        let view = View(domain: entry.domain, records: rows, isWaiting: entry.place == .making)
        if visit.isFragment { return visit.piece("records-piece", view) }
        return visit.page("records", title: words("records.title"), view, here: "/home")
    }

    /// Has provision look at the MX now instead of in a while.
    @Sendable static func checkAgain(_ visit: Visit) async throws -> Response {
        .seeOther("/progress/\(try await visit.portal.requests.ask("check", owner: try visit.person().owner, by: visit.client))")
    }
}
