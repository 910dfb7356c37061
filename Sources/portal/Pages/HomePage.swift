// The page of a mailbox: what it is, how full it is, what its container does, and what one can do with both.
import Control
import Hummingbird
import Provisioning
import Unix

enum HomePage {
    @Sendable static func show(_ visit: Visit) async throws -> Response { try await show(visit, keyError: nil, keyText: "") }

    /// Also with what was wrong about a key that somebody wanted to add.
    static func show(_ visit: Visit, keyError: String?, keyText: String) async throws -> Response {
        let owner = try visit.person().owner, portal = visit.portal
        guard let entry = try portal.register.entry(of: owner) else {
            // Perhaps it has not been taken up yet, or was just undone.
            if let (id, answer) = portal.requests.newest(of: owner), answer.end == nil { return .seeOther("/progress/\(id)") }
            return .seeOther("/create")
        }
        // Before it is let in there is no mail.
        let count = entry.place == .making ? MaildirExports.Count("new 0\ncur 0\n") : try await portal.blocking { portal.exports.count(of: owner) }
        let view = try HomeView(visit, entry, count, keyError: keyError, keyText: keyText)
        return visit.page("home", title: visit.words("home.title"), view, status: keyError == nil ? .ok : .unprocessableContent, here: "/home")
    }

    @Sendable static func changeContainer(_ visit: Visit) async throws -> Response {
        let order = visit.form["do"]
        guard ["start", "stop", "restart", "rebuild"].contains(order) else { throw Refusal.malformed }
        return .seeOther("/progress/\(try await visit.portal.requests.ask(order, owner: try visit.person().owner, by: visit.client))")
    }

    struct Nothing: Sendable {}

    @Sendable static func askToRebuild(_ visit: Visit) throws -> Response {
        visit.page("rebuild", title: visit.words("rebuild.title"), Nothing(), here: "/home")
    }
}

/// What the template home shows.
struct HomeView: Sendable {
    struct Banner: Sendable {
        let kind: String
        let text: String
        let link: ProgressPage.View.Link?
    }

    struct Mail: Sendable {
        let new: Int
        let read: Int
        let newest: Moment?
    }

    struct Container: Sendable {
        let kind: String
        let name: String
        let since: Moment?
        let canStart: Bool
        let canStop: Bool
        let ssh: String
        let needsKey: Bool
        let hostKey: String?
    }

    let address: String
    let owner: String
    let hostname: String
    let banner: Banner?
    let space: SpaceView?
    let spaceText: String?
    let mail: Mail?
    let webmail: String?
    let hasIMAP: Bool
    let container: Container?
    let keys: [KeysPage.Row]
    let canAddKey: Bool
    let keyError: String?
    let keyText: String
    /// What a mailbox waits for stands before all else.
    let recordsFirst: Bool
    let recordsLast: Bool
    let recordsText: String

    init(_ visit: Visit, _ entry: Register.Entry, _ count: MaildirExports.Count?, keyError: String?, keyText: String) throws {
        let portal = visit.portal, words = visit.words
        address = entry.address
        owner = entry.owner
        let hostname = try portal.settings.hostname
        self.hostname = hostname
        banner = HomeView.banner(entry, portal.requests.newest(of: entry.owner), words)
        let isBounded = entry.mailbox.map { $0.keep.volume != .directory } ?? false
        space = isBounded ? portal.register.space(of: entry.owner).map { SpaceView($0, words) } : nil
        spaceText = space != nil ? nil : isBounded ? words("home.spaceUnknown") : count.map { words("home.spaceUnbound", words.size($0.octets)) }
        mail = count.map { Mail(new: $0.new, read: $0.read, newest: $0.newest.map { Moment($0, words) }) }
        let url = try portal.settings.text(.webmailURL)
        webmail = url.hasPrefix("https://") || url.hasPrefix("http://") ? url : nil
        hasIMAP = try portal.settings.text(.imap) == "yes"
        let keys = try portal.register.keys(of: entry.owner)
        container = entry.mailbox?.keep.container.map { HomeView.container($0, portal.register.container(of: entry.owner), entry.owner, hostname: hostname, hasKey: !keys.isEmpty, hostKey: portal.register.hostKey(of: entry.owner), words) }
        self.keys = keys.map { KeysPage.Row($0, words) }
        canAddKey = keys.count < KeysPage.most
        self.keyError = keyError
        self.keyText = keyText
        // A zone of ours has its records from provision.
        let hasRecords = try RecordsPage.isOwn(entry.domain, portal.settings.offer())
        recordsFirst = hasRecords && entry.place == .making
        recordsLast = hasRecords && entry.place != .making
        recordsText = words("records.text", entry.domain)
    }

    private static func container(_ address: String, _ state: ContainerState?, _ owner: String, hostname: String, hasKey: Bool, hostKey: SSHKey?, _ words: Words) -> Container {
        let (kind, name) = switch state?.kind {
        case .running: ("running", "home.running")
        case .stopped: ("stopped", "home.stopped")
        case .missing: ("missing", "home.missing")
        case nil: ("unknown", "home.unknown")
        }
        return Container(
            kind: kind, name: words(name), since: state.flatMap { $0.kind == .running && $0.started > 0 ? Moment($0.started, words) : nil },
            canStart: state?.kind == .stopped || state == nil, canStop: state?.kind == .running || state == nil,
            ssh: "ssh -J semail-ssh@\(hostname) \(owner)@\(address)", needsKey: !hasKey, hostKey: hostKey.map { words("home.hostKey", $0.fingerprint) })
    }

    private static func banner(_ entry: Register.Entry, _ newest: (id: String, answer: RequestState)?, _ words: Words) -> Banner? {
        let follow = newest.flatMap { newest in
            newest.answer.end == nil ? ProgressPage.View.Link(path: "/progress/\(newest.id)", name: words("home.follow"), isAutomatic: false) : nil
        }
        switch entry.place {
        case .making where follow != nil: return Banner(kind: "warn", text: words("home.making"), link: follow)
        case .making:
            return Banner(kind: "warn", text: words("home.waiting"), link: ProgressPage.View.Link(path: "#records", name: words("home.waitingLink"), isAutomatic: false))
        case .leaving: return Banner(kind: "warn", text: words("home.leaving"), link: follow)
        case .here: return entry.mailbox?.state == .suspended ? Banner(kind: "warn", text: words("home.suspended"), link: nil) : nil
        }
    }
}

/// How full a file system is.
struct SpaceView: Sendable {
    let text: String
    let percent: Int
    let isTight: Bool

    init(_ space: Space, _ words: Words) {
        let total = Int(space.totalOctets), used = max(0, total - Int(space.freeOctets))
        text = words("home.space", words.size(used), words.size(total))
        percent = total == 0 ? 0 : max(used == 0 ? 0 : 1, min(100, used * 100 / total))
        isTight = percent >= 90
    }
}
