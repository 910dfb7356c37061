// Messages for one destination: over the connection there is, or a new one, or one to another host if the first breaks.
import Mail
import Program
import Unix

final class Relay {
    /// Connections that one message may see break before it waits for another time.
    private static let mostBreaks = 3
    /// So long a host that was ready is asked before better ones; then these have another chance.
    private static let preferenceMilliseconds = 300_000

    private let destination: Destination
    private let station: Station
    private let outlet = Outlet()
    private var session: Session?
    private var preferred: (host: Destination.Host, since: Int)?

    init(_ destination: Destination, _ station: Station) {
        self.destination = destination
        self.station = station
    }

    /// The open connection, to see whether the peer closes it.
    var descriptor: Int32? { session?.wire.descriptor }

    /// An outcome for each recipient, in the envelope's order.
    func send(_ message: Message) -> [Outcome] {
        var outcomes = [Outcome?](repeating: nil, count: message.envelope.recipients.count)
        var search: Search?
        /// What the last connection that broke leaves to say.
        var broken: Outcome?
        var breaks = 0
        while outcomes.contains(where: { $0 == nil }) {
            do throws(Destination.Trouble) {
                let session = try takeSession(&search)
                let wasFresh = session.isFresh
                do throws(Broken) { try carry(message, &outcomes, session) } catch {
                    // One that has waited for work may be closed by then: nobody's failure.
                    if !wasFresh, message.canRepeat {
                        search = nil
                        continue
                    }
                    breaks += 1
                    broken = error.reply.map { Outcome(.tryAgain, $0, host: session.label) } ?? Outcome(.tryAgain, "4.4.2", error.text, host: session.label)
                    Log.info("broken", .bytes("id", message.id), .bytes("host", session.label), .bytes("reason", broken!.text))
                    if breaks == Relay.mostBreaks || !message.canRepeat { Relay.fill(&outcomes, broken!) }
                }
            } catch { Relay.fill(&outcomes, broken ?? error.outcome) }
        }
        let result = outcomes.map { $0! }
        log(message, result)
        return result
    }

    /// No more messages for this connection.
    func quit() {
        session?.quit()
        session = nil
    }

    /// The peer closes it, or speaks when it is not asked: nothing that it says counts any more.
    func drop() { session = nil }

    private func carry(_ message: Message, _ outcomes: inout [Outcome?], _ session: Session) throws(Broken) {
        defer { if session.isBroken { self.session = nil } }
        let open = outcomes.count { $0 == nil }
        try session.carry(message, &outcomes, with: outlet)
        let left = outcomes.count { $0 == nil }
        // Those that are left go in another transaction, if there has been progress and the message can be read again.
        if left == open || !message.canRepeat { Relay.fill(&outcomes, Outcome(.tryAgain, "4.5.3", "the mail server takes no more recipients for now")) }
    }

    private func takeSession(_ search: inout Search?) throws(Destination.Trouble) -> Session {
        if let session {
            if !session.isUsedUp { return session }
            quit()
            // The same host will do.
            search = nil
        }
        let now = Clock.monotonicMilliseconds()
        if let since = preferred?.since, now - since > Relay.preferenceMilliseconds { preferred = nil }
        if search == nil { search = try Search(destination, station, preferred: preferred?.host) }
        let new = try search!.next()
        session = new
        if preferred?.host != new.host { preferred = (new.host, now) }
        return new
    }

    private static func fill(_ outcomes: inout [Outcome?], _ outcome: Outcome) {
        for place in outcomes.indices where outcomes[place] == nil { outcomes[place] = outcome }
    }

    private func log(_ message: Message, _ outcomes: [Outcome]) {
        let taken = outcomes.count { $0.kind == .taken }
        let failed = outcomes.count { $0.kind.isFinal }
        let first = outcomes.first
        Log.info("relayed", .bytes("id", message.id), .bytes("destination", destination.name), .bytes("host", first?.host ?? []), .count("taken", taken),
                 .count("later", outcomes.count - taken - failed), .count("failed", failed), .bytes("reply", first?.text ?? []))
    }
}
