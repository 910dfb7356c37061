// All mailboxes, for administrators: how full, in which state; larger disks, and who may receive no more.
import Control
import Hummingbird
import Program
import Provisioning

enum AdminPage {
    private static let rowsOfPage = 50

    struct View: Sendable {
        struct Row: Sendable {
            let number: Int
            let address: String
            let owner: String
            let state: String
            let stateName: String
            let container: ContainerBadge?
            let space: SpaceView?
            let spaceText: String?
            let size: String
            let canChange: Bool
            /// A directory has no size.
            let canResize: Bool
            let isSuspended: Bool
        }

        struct ContainerBadge: Sendable {
            let kind: String
            let name: String
        }

        struct Pages: Sendable {
            let text: String
            let previous: String?
            let following: String?
        }

        let count: String
        let search: String
        let rows: [Row]
        let hasRows: Bool
        let pages: Pages?
    }

    @Sendable static func show(_ visit: Visit) async throws -> Response {
        let portal = visit.portal, words = visit.words
        let search = String(visit.query["q"].prefix(100)).lowercased()
        let all = try await portal.blocking { try [Register.Entry.Place.making, .here, .leaving].flatMap { try portal.register.entries($0) } }
        let found = all.filter { search.isEmpty || $0.address.contains(search) || $0.owner.lowercased().contains(search) }.sorted { $0.address < $1.address }
        let pageCount = max(1, (found.count + rowsOfPage - 1) / rowsOfPage)
        let page = min(max(1, Int(visit.query["page"]) ?? 1), pageCount)
        let shown = found.dropFirst((page - 1) * rowsOfPage).prefix(rowsOfPage)
        let rows = try await portal.blocking { shown.enumerated().map { row($0.offset, $0.element, portal, words) } }
        func path(_ number: Int) -> String? { 1...pageCount ~= number ? "/admin?page=\(number)" + (search.isEmpty ? "" : "&q=" + Form.encoded(search)) : nil }
        let view = View(
            count: words.count("admin.count", all.count), search: search, rows: rows, hasRows: !rows.isEmpty,
            pages: pageCount == 1 ? nil : View.Pages(text: words("admin.page", "\(page)", "\(pageCount)"), previous: path(page - 1), following: path(page + 1)))
        return visit.page("admin", title: words("admin.title"), view)
    }

    private static func row(_ number: Int, _ entry: Register.Entry, _ portal: Portal, _ words: Words) -> View.Row {
        let keep = entry.mailbox?.keep
        let isBounded = keep.map { $0.volume != .directory } ?? false
        let isSuspended = entry.mailbox?.state == .suspended
        let state = switch entry.place {
        case .making: "making"
        case .leaving: "leaving"
        case .here: entry.mailbox == nil ? "broken" : isSuspended ? "suspended" : "active"
        }
        let container = keep?.container.flatMap { _ in portal.register.container(of: entry.owner) }
        return View.Row(
            number: number, address: entry.address, owner: entry.owner, state: state, stateName: words("admin." + state),
            container: container.map { state in
                switch state.kind {
                case .running: View.ContainerBadge(kind: "running", name: words("home.running"))
                case .stopped: View.ContainerBadge(kind: "stopped", name: words("home.stopped"))
                case .missing: View.ContainerBadge(kind: "missing", name: words("home.missing"))
                }
            },
            space: isBounded ? portal.register.space(of: entry.owner).map { SpaceView($0, words) } : nil, spaceText: isBounded ? nil : words("admin.unbound"),
            size: keep.map { sizeText($0.volumeOctets) } ?? "", canChange: entry.place == .here && entry.mailbox != nil, canResize: isBounded, isSuspended: isSuspended)
    }

    /// As the setting volume-size has it.
    private static func sizeText(_ octets: Int) -> String {
        for (unit, factor) in [("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)] where octets > 0 && octets % factor == 0 { return "\(octets / factor)\(unit)" }
        return octets == 0 ? "" : "\(octets)"
    }

    @Sendable static func resize(_ visit: Visit) async throws -> Response {
        let size = visit.form["size"].filter { !$0.isWhitespace }.uppercased()
        guard let last = size.last, let octets = Setting.volumeSize.number(last == "T" ? "" + size.dropLast() + "000G" : size), octets > 0 else { throw Refusal(.unprocessableContent, "admin.badSize") }
        return try await ask("resize", visit, [("size", size)])
    }

    @Sendable static func change(_ order: String, _ visit: Visit) async throws -> Response { try await ask(order, visit, []) }

    private static func ask(_ order: String, _ visit: Visit, _ fields: [(key: String, value: String)]) async throws -> Response {
        let administrator = try visit.person()
        guard administrator.isAdministrator else { throw Refusal.forbidden }
        let owner = visit.form["owner"]
        guard (try? Name.owner(owner)) == owner, try visit.portal.register.entry(of: owner) != nil else { throw Refusal.notFound }
        return .seeOther("/progress/\(try await visit.portal.requests.ask(order, owner: owner, by: visit.client, fields + [("by", administrator.owner)]))")
    }
}
