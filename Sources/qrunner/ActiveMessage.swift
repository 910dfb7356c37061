// Messages being worked on. Everything else stays on disk.
import Mail
import Queue
import Unix

/// One message in work.
final class ActiveMessage {
    let open: OpenMessage
    /// Recipients without an outcome in this round.
    var outstanding = 0
    /// Recipients that got it in this round.
    var delivered: [Envelope.Recipient] = []
    var failures: [(recipient: Envelope.Recipient, failure: Failure)] = []
    var deferrals: [(recipient: Envelope.Recipient, failure: Failure)] = []

    /// Some recipient's lane was full.
    var isPostponed = false

    init(_ open: consuming OpenMessage) { self.open = open }

    var id: QueueID { open.id }
    /// A try of which no record exists may have been made: by a qrunner before this one, or by a delivery that died.
    func mayBeDelivered(runnerStarted: Int) -> Bool { open.place != .new || arrival <= runnerStarted }

    /// Seconds since 1970.
    var arrival: Int { open.envelope.received / 1_000_000 }
}

/// One recipient of one message on its way to one mailbox.
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
