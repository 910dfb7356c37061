// What an outcome means for its message: forgotten, tried again later, reported on.
import Control
import Mail
import Program
import Queue
import Unix

extension Runner {
    func settle(_ item: Item, _ outcome: Outcome, _ status: String, _ text: [UInt8], host: [UInt8] = []) {
        let message = item.message
        let fate = Fate(recipient: item.recipient, status: Array(status.utf8), text: text, host: host)
        message.results.append((outcome, fate))
        let seconds = Clock.seconds() - message.arrival
        switch outcome {
        case .delivered:
            Log.info("delivered", .text("id", message.id.text), .bytes("to", item.recipient.address.bytes), .count("size", message.open.size), .count("seconds", seconds))
        case .relayed, .relayedForLast:
            Log.info("relayed", .text("id", message.id.text), .bytes("to", item.recipient.address.bytes), .bytes("host", host), .bytes("answer", text),
                     .count("size", message.open.size), .count("seconds", seconds))
        case .failed, .tryAgain, .postponed: break
        }
        message.outstanding -= 1
        finishIfSettled(message)
    }

    func finishIfSettled(_ message: ActiveMessage) {
        guard message.outstanding == 0 else { return }
        do throws(SystemError) { try finish(message) } catch {
            // The queue's own disk is in trouble. Nothing is forgotten: the file stands where it stood, and is found again.
            Log.error("not-recorded", .text("id", message.id.text), .text("reason", error.text))
            intake.lookAgain(at: message.open.place)
        }
        active[message.id] = nil
        intake.left(message.open.place, store)
    }

    /// Reports first, marks and moves after: a crash between them costs a second report, never a silence.
    private func finish(_ message: ActiveMessage) throws(SystemError) {
        let now = Clock.seconds()
        var failures = message.fates(.failed)
        var deferrals = message.fates(.tryAgain)
        let isPostponed = message.results.contains { $0.outcome == .postponed }
        let deadline = message.arrival + settings.lifetimeSeconds
        if now >= deadline {
            failures += deferrals.map { fate in
                Fate(recipient: fate.recipient, status: Array("5.4.7".utf8), text: Array("The last of many tries failed: ".utf8) + fate.text, host: fate.host)
            }
            deferrals = []
        }
        for fate in failures { log("failed", message, fate) }
        try report(.failed, message, failures.filter { $0.recipient.notify?.contains(.failure) ?? true }, now, deadline)
        try report(.delivered, message, message.fates(.delivered).filter { $0.recipient.notify?.contains(.success) ?? false }, now, deadline)
        try report(.relayed, message, message.fates(.relayedForLast).filter { $0.recipient.notify?.contains(.success) ?? false }, now, deadline)
        guard !deferrals.isEmpty || isPostponed else {
            try store.remove(message.id, from: message.open.place)
            return
        }
        for fate in failures + message.fates(.delivered, .relayed, .relayedForLast) { try message.open.mark(fate.recipient, .done) }
        if isPostponed { return }
        for fate in deferrals { log("deferred", message, fate) }
        if now - message.arrival >= settings.delayNoticeSeconds {
            let late = deferrals.filter { $0.recipient.mark == .waiting }
            try report(.delayed, message, late.filter { $0.recipient.notify?.contains(.delay) ?? true }, now, deadline)
            for fate in late { try message.open.mark(fate.recipient, .delayed) }
        }
        store.note(message.id, deferrals.flatMap { fate -> [UInt8] in
            let said = fate.host.isEmpty ? fate.text : fate.host + Array(" said: ".utf8) + fate.text
            return Array([fate.recipient.address.bytes, fate.status, said].joined(separator: [9])) + [10]
        })
        let time = max(Schedule.nextTry(arrival: message.arrival, now: now), message.notBefore)
        let minute = Schedule.minute(of: min(time, max(deadline, now + 60)))
        try store.move(message.id, from: message.open.place, to: .later(minute: minute))
        intake.add(minute: minute)
    }

    private func log(_ event: StaticString, _ message: ActiveMessage, _ fate: Fate) {
        Log.info(event, .text("id", message.id.text), .bytes("to", fate.recipient.address.bytes), .bytes("status", fate.status), .bytes("host", fate.host), .bytes("reason", fate.text))
    }

    /// The most of a message that goes back with its report (RFC 3461 6.2: RET=FULL is a wish).
    private static let returnedLimit = 1 << 20

    private func report(_ action: DeliveryReport.Action, _ message: ActiveMessage, _ fates: [Fate], _ now: Int, _ deadline: Int) throws(SystemError) {
        guard !fates.isEmpty else { return }
        let host = Address(localPart: Array("postmaster".utf8), domain: settings.hostname)
        let envelope = message.open.envelope
        let isDouble = envelope.sender == nil
        // The null sender is never answered; postmaster hears of a report that did not arrive, and of nothing else (RFC 5321 4.5.5).
        guard !isDouble || action == .failed else { return }
        let addressee = envelope.sender ?? host
        // Whom a bounce to postmaster reaches; where that fails too, the log is all that is left.
        let recipients = isDouble ? postmasters(host) : [addressee]
        if isDouble, recipients.isEmpty || fates.allSatisfy({ fate in recipients.contains { $0.key == fate.recipient.address.key } }) {
            Log.error("discarded", .text("id", message.id.text), .text("reason", "a bounce that postmaster could not get"))
            return
        }
        var returning = DeliveryReport.Returning.headers([])
        if action == .failed, envelope.returned == .full, let whole = try message.open.whole(limit: Runner.returnedLimit) { returning = .whole(whole) } else {
            returning = .headers(try message.open.headers())
        }
        let isUTF8 = recipients.contains { !$0.isASCII } || fates.contains { !$0.recipient.address.isASCII }
        var writer = try entrance.begin(Envelope(received: 0, sender: nil, recipients: recipients, is8Bit: true, isSMTPUTF8: isUTF8))
        let report = DeliveryReport(
            action, hostname: settings.hostname, addressee: addressee, fates: fates, envelopeID: envelope.envelopeID, arrival: message.arrival, now: now,
            deadline: deadline, unique: "\(message.id.text).\(now).\(action.rawValue)", isDouble: isDouble)
        try writer.write(report.message(returning))
        let id = writer.id
        try entrance.commit(writer)
        Log.info("reported", .text("id", message.id.text), .text("as", id.text), .bytes("to", addressee.bytes), .text("action", action.rawValue))
    }

    private func postmasters(_ address: Address) -> [Address] {
        do {
            guard case .mailboxes(let found) = try Resolver(home).resolve(address, hostname: settings.hostname) else { return [] }
            return found.map(\.0)
        } catch { return [] }
    }
}
