// The way to one destination: who waits, who is connected, and how long to leave it alone when it is down.
import Control
import Mail
import Program
import Queue
import Unix

/// Recipients of one message that go to one destination together.
struct Transaction {
    let message: ActiveMessage
    let items: [Item]

    /// RFC 5321 4.5.3.1.8: a host takes a hundred at least.
    static let recipientLimit = 100
}

final class RelayLane {
    let route: Route
    var waiting: [Transaction] = []
    /// Where messages for this destination were left on disk because too many waited already.
    var leftBehind: Set<QueueStore.Place> = []
    var connections: [Relay] = []
    /// A connection has carried a message: more may be opened. Until then one is enough to see whether anybody is there.
    var isProven = false

    /// When its first connection was begun, on the monotonic clock.
    var triedSince = 0

    /// Nothing has come of its first connection for a while. It goes on, but holds up nobody: a third of all destinations may be like this.
    func isSilent(_ now: Int) -> Bool { !isProven && !connections.isEmpty && now - triedSince >= RelayLane.patienceMilliseconds }

    static let patienceMilliseconds = 2000

    /// The most that wait in memory for one destination.
    static let waitingLimit = 200
    /// As long as nobody has answered there, and many wait for others like it.
    static let crowdedLimit = 10

    init(_ route: Route) { self.route = route }

    var idle: Relay? { connections.first { $0.transaction == nil } }
}

/// A relay process with its connection, at the other end of a socket.
final class Relay {
    private let socket: Descriptor
    /// What it is sending; nil while it waits.
    private(set) var transaction: Transaction?
    /// On the monotonic clock.
    private(set) var idleSince = 0

    /// How long a connection stays for what may follow.
    static let lingerMilliseconds = 2000

    init(_ route: Route, from template: Template, tag: UInt64) throws(SystemError) {
        let ends = try Socket.pair()
        let words = [route.destination, "\(route.port)", route.level.rawValue, route.flags]
        try template.start(tag: tag, arguments: words.map { Array($0.utf8) }, descriptors: [ends.second.raw])
        socket = ends.takeFirst()
    }

    var descriptor: Int32 { socket.raw }

    func send(_ transaction: Transaction, from store: borrowing QueueStore) throws(SystemError) {
        let message = transaction.message
        var envelope = message.open.envelope
        envelope.recipients = transaction.items.map(\.recipient)
        // A file's position is shared by all who hold it: every transaction has an opening of its own.
        let file = try message.open.reopen(in: store)
        let request = TemplateRequest(arguments: [Array(message.id.text.utf8), envelope.encoded(), message.signature ?? []], environment: [], descriptors: [])
        try Socket.send(socket.raw, request.encoded(tag: 0), descriptors: [file.raw])
        self.transaction = transaction
    }

    /// The report lines, one for each recipient; nil: the process has ended.
    func report() -> [RelayReport?]? {
        guard let (bytes, _) = (try? Socket.receive(socket.raw, limit: 131072)) ?? nil, let transaction else { return nil }
        let lines = bytes.split(separator: 10)
        self.transaction = nil
        idleSince = Clock.monotonicMilliseconds()
        return transaction.items.indices.map { $0 < lines.count ? RelayReport(lines[$0]) : nil }
    }
}

/// `K|Z|D TAB status TAB address TAB host TAB text [TAB words]`; remote-relay(8).
struct RelayReport {
    let outcome: Outcome
    /// The destination is the trouble: every other message for it would fare the same.
    let isOfDestination: Bool
    let status: String
    let host: [UInt8]
    let text: [UInt8]

    init?(_ line: ArraySlice<UInt8>) {
        let fields = line.split(separator: 9, omittingEmptySubsequences: false)
        guard fields.count >= 5, let letter = fields[0].first else { return nil }
        let knowsReports = fields.count > 5 && fields[5].split(separator: 0x2c).contains { Array($0) == Array("dsn".utf8) }
        switch letter {
        case 0x4b: outcome = knowsReports ? .relayed : .relayedForLast
        case 0x44, 0x64: outcome = .failed
        default: outcome = .tryAgain
        }
        isOfDestination = letter == 0x7a || letter == 0x64
        status = String(decoding: fields[1], as: UTF8.self)
        host = Array(fields[3])
        text = Array(fields[4])
    }
}

/// Destinations that could not be reached: tried once for all that wait, and then left alone for a while.
struct DownDestinations {
    struct State {
        var failures: Int
        /// Not tried before; seconds since 1970.
        var until: Int
        var report: RelayReport
    }

    private var states: [Route: State] = [:]

    /// What was said, while it is to be left alone.
    func current(_ route: Route) -> State? { states[route].flatMap { $0.until > Clock.seconds() ? $0 : nil } }

    /// A minute, then twice as long each time up to half an hour, give or take a fifth.
    mutating func note(_ route: Route, _ report: RelayReport) {
        let failures = (states[route]?.failures ?? 0) + 1
        let pause = min(60 << min(failures - 1, 5), 1800)
        if states.count >= 10_000 { states = states.filter { $0.value.until > Clock.seconds() } }
        // What is not remembered is tried again, no more.
        if states.count >= 10_000 { return }
        states[route] = State(failures: failures, until: Clock.seconds() + pause - pause / 5 + Random.below(pause * 2 / 5 + 1), report: report)
    }

    mutating func isUp(_ route: Route) { states[route] = nil }

    /// The admin wants everything tried now.
    mutating func forget() { states = [:] }
}
