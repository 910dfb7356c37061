// Messages being worked on. Everything else stays on disk.
import Mail
import Queue
import Unix

/// One message in work.
final class ActiveMessage {
    let open: OpenMessage
    /// Recipients without an outcome in this round.
    var outstanding = 0
    /// What came of the others in this round.
    var results: [(outcome: Outcome, fate: Fate)] = []
    /// A destination that is down is not tried before; seconds since 1970.
    var notBefore = 0
    /// DKIM-Signature fields, which go before the message; nil: not asked for yet.
    var signature: [UInt8]?

    init(_ open: consuming OpenMessage) { self.open = open }

    var id: QueueID { open.id }
    /// A try of which no record exists may have been made: by a qrunner before this one, or by a delivery that died.
    func mayBeDelivered(runnerStarted: Int) -> Bool { open.place != .new || arrival <= runnerStarted }

    /// Seconds since 1970.
    var arrival: Int { open.envelope.received / 1_000_000 }

    /// What came by the outgoing server, or was written here, may go to other hosts; what came from the Internet is for this host alone.
    var mayLeave: Bool { open.mayLeave && (open.envelope.submitter != nil || open.envelope.sender == nil && open.envelope.client.isEmpty) }

    func fates(_ wanted: Outcome...) -> [Fate] { results.filter { wanted.contains($0.outcome) }.map(\.fate) }
}

/// What came of one recipient.
enum Outcome {
    /// In its Maildir.
    case delivered
    /// Taken by another host, which reports from now on.
    case relayed
    /// Taken by another host that knows nothing of reports.
    case relayedForLast
    case failed, tryAgain
    /// Not tried at all: it stays where it is until there is room.
    case postponed
}

/// One recipient of one message on its way.
struct Item {
    let message: ActiveMessage
    let recipient: Envelope.Recipient
    /// Its place among the message's recipients, the same at every try.
    let number: Int
}

/// A descriptor in a collection: collections cannot hold owners that must not be copied.
final class OwnedDescriptor {
    let descriptor: Descriptor
    init(_ descriptor: consuming Descriptor) { self.descriptor = descriptor }
}
