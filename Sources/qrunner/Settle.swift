// What a delivery's outcome means for its message: forgotten, tried again later, or bounced.
import Control
import Mail
import Program
import Queue
import Unix

enum Outcome {
    case delivered, failed, tryAgain
    /// Not tried at all: it stays where it is until there is room.
    case postponed
}

extension Runner {
    func settle(_ item: Item, _ outcome: Outcome, _ status: String, _ text: String) {
        let message = item.message
        let failure = Failure(recipient: item.recipient.address, status: Array(status.utf8), text: Array(text.utf8))
        switch outcome {
        case .delivered:
            message.delivered.append(item.recipient)
            Log.info("delivered", .text("id", message.id.text), .bytes("to", item.recipient.address.bytes),
                     .count("size", message.open.size), .count("seconds", Clock.seconds() - message.arrival))
        case .failed: message.failures.append((item.recipient, failure))
        case .tryAgain: message.deferrals.append((item.recipient, failure))
        case .postponed: message.isPostponed = true
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

    /// Bounce first, marks and moves after: a crash between them costs a second bounce, never a silence.
    private func finish(_ message: ActiveMessage) throws(SystemError) {
        let now = Clock.seconds()
        if !message.deferrals.isEmpty, now - message.arrival >= settings.lifetimeSeconds {
            for (recipient, failure) in message.deferrals {
                let text = Array("The last of many tries failed: ".utf8) + failure.text
                message.failures.append((recipient, Failure(recipient: failure.recipient, status: Array("5.4.7".utf8), text: text)))
            }
            message.deferrals = []
        }
        if !message.failures.isEmpty {
            try bounce(message)
            for (_, failure) in message.failures { log("failed", message, failure) }
        }
        guard !message.deferrals.isEmpty || message.isPostponed else {
            try store.remove(message.id, from: message.open.place)
            return
        }
        for recipient in message.delivered + message.failures.map(\.recipient) { try message.open.markDone(recipient) }
        if message.isPostponed { return }
        for (_, failure) in message.deferrals { log("deferred", message, failure) }
        store.note(message.id, message.deferrals.flatMap { _, failure -> [UInt8] in
            let fields: [[UInt8]] = [failure.recipient.bytes, failure.status, failure.text]
            return Array(fields.joined(separator: [9])) + [10]
        })
        let minute = Schedule.minute(of: Schedule.nextTry(arrival: message.arrival, now: now))
        try store.move(message.id, from: message.open.place, to: .later(minute: minute))
        intake.add(minute: minute)
    }

    private func log(_ event: StaticString, _ message: ActiveMessage, _ failure: Failure) {
        Log.info(event, .text("id", message.id.text), .bytes("to", failure.recipient.bytes), .bytes("status", failure.status), .bytes("reason", failure.text))
    }

    private func bounce(_ message: ActiveMessage) throws(SystemError) {
        let now = Clock.seconds()
        let host = Address(localPart: Array("postmaster".utf8), domain: settings.hostname)
        let isDouble = message.open.envelope.sender == nil
        let addressee = message.open.envelope.sender ?? host
        // Whom a bounce to postmaster reaches; where that fails too, the log is all that is left.
        let recipients = isDouble ? postmasters(host) : [addressee]
        if isDouble, recipients.isEmpty || message.failures.allSatisfy({ failed in recipients.contains { $0.key == failed.recipient.address.key } }) {
            Log.error("discarded", .text("id", message.id.text), .text("reason", "a bounce that postmaster could not get"))
            return
        }
        let headers = try message.open.headers()
        let isUTF8 = recipients.contains { !$0.isASCII } || message.failures.contains { !$0.failure.recipient.isASCII }
        var writer = try entrance.begin(Envelope(received: 0, sender: nil, recipients: recipients, is8Bit: true, isSMTPUTF8: isUTF8))
        let report = Bounce(
            hostname: settings.hostname, addressee: addressee, failures: message.failures.map(\.failure), arrival: message.arrival,
            now: now, unique: "\(message.id.text).\(now)", isDouble: isDouble)
        try writer.write(report.message(returning: headers))
        let id = writer.id
        try entrance.commit(writer)
        Log.info("bounced", .text("id", message.id.text), .text("as", id.text), .bytes("to", addressee.bytes))
    }

    private func postmasters(_ address: Address) -> [Address] {
        do {
            guard case .mailboxes(let found) = try Resolver(home).resolve(address, hostname: settings.hostname) else { return [] }
            return found.map(\.0)
        } catch { return [] }
    }
}
