// A session that takes mail: one message after the other, each a transaction, until one of the two has had enough.
import Mail
import Unix

final class Session {
    /// Messages on one connection: enough to save the connecting, few enough to move on to another host of equal preference.
    private static let mostMessages = 100

    let wire: Wire
    let capabilities: Capabilities
    let host: Destination.Host
    let label: [UInt8]
    private let patience: Patience
    private var count = 0
    private var needsReset = false
    private(set) var isBroken = false

    init(_ wire: Wire, _ capabilities: Capabilities, host: Destination.Host, label: [UInt8], patience: Patience) {
        self.wire = wire
        self.capabilities = capabilities
        self.host = host
        self.label = label
        self.patience = patience
    }

    var isFresh: Bool { count == 0 }
    var isUsedUp: Bool { count >= min(Session.mostMessages, capabilities.mostMessages ?? .max) }

    /// One transaction for the recipients without an outcome. Throws if nothing is decided: the connection broke before the message
    /// was sent, and another host may be tried.
    func carry(_ message: Message, _ outcomes: inout [Outcome?], with outlet: Outlet) throws(Broken) {
        let hasUTF8Header = message.envelope.isSMTPUTF8 && !capabilities.hasSMTPUTF8 && message.hasUTF8Header
        var transaction = Transaction(
            message.envelope, outcomes, to: capabilities, host: label, size: message.size, hasUTF8Header: hasUTF8Header, needsReset: needsReset)
        defer {
            outcomes = transaction.outcomes
            needsReset = transaction.needsReset
            count += 1
        }
        do throws(Broken) {
            if wire.hasUnread { throw Broken("the peer answered what it was not asked") }
            while true {
                switch transaction.next() {
                case .commands(let commands, let stages):
                    try wire.send(commands, milliseconds: patience.command)
                    for stage in stages {
                        let reply = try wire.reply(milliseconds: stage == .data ? patience.data : patience.command)
                        // RFC 5321 3.8: it is about to close, whatever was asked.
                        if reply.code == 421 { throw Broken("the peer closed the session", reply: reply) }
                        if !transaction.take(reply, for: stage) { throw Broken("the peer gave an answer that cannot be: \(String(decoding: reply.text, as: UTF8.self))") }
                    }
                case .content:
                    try send(message, in: &transaction, outlet)
                    if isBroken { return }
                case .emptyContent:
                    try wire.send([0x2e, 0x0d, 0x0a], milliseconds: patience.block)
                    let reply = try wire.reply(milliseconds: patience.final)
                    if !transaction.take(reply, for: .content) || reply.code == 421 { isBroken = true; return }
                case .done: return
                }
            }
        } catch {
            isBroken = true
            throw error
        }
    }

    private func send(_ message: Message, in transaction: inout Transaction, _ outlet: Outlet) throws(Broken) {
        // A reply that came too early would pass for the one to the message.
        if wire.hasUnread { throw Broken("the peer answered what it was not asked") }
        do throws(Outlet.Fault) {
            try outlet.send(message, to: wire, idleMilliseconds: patience.block)
        } catch {
            isBroken = true
            switch error {
            case .unreadable(let text): transaction.settleAccepted(Outcome(.tryAgain, "4.3.0", "the message could not be read: \(text)"))
            case .unwanted: transaction.settleAccepted(Outcome(.tryAgain, "4.3.0", "nobody waits for the outcome any more"))
            case .broken(let broken):
                // Some say why before they hang up: too large, for one.
                guard let reply = try? wire.reply(milliseconds: min(1000, patience.quit)), reply.severity >= 4 else { throw broken }
                _ = transaction.take(reply, for: .content)
            }
            return
        }
        let reply: Reply
        do throws(Broken) { reply = try wire.reply(milliseconds: patience.final) } catch {
            // The one window that SMTP leaves (RFC 1047): the peer may have it, and has not said so.
            isBroken = true
            transaction.settleAccepted(Outcome(.tryAgain, "4.4.2", "the connection broke after the message was sent (\(error.text)); it may arrive twice"))
            return
        }
        if !transaction.take(reply, for: .content) {
            isBroken = true
            transaction.settleAccepted(Outcome(.tryAgain, "4.5.0", "the peer answered the message with \(String(decoding: reply.text, as: UTF8.self))"))
        } else if reply.code == 421 { isBroken = true }
    }

    /// Says good-bye, and gives the peer a moment to hear it before the connection goes.
    func quit() {
        guard !isBroken else { return }
        isBroken = true
        do throws(Broken) {
            try wire.send(Array("QUIT\r\n".utf8), milliseconds: patience.quit)
            _ = try wire.reply(milliseconds: patience.quit)
        } catch {}
    }
}
