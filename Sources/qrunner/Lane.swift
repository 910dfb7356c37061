// The deliveries to one mailbox: one batch at a time, and what waits meanwhile goes together in the next.
import Control
import Mail
import Program
import Queue
import Unix

final class Lane {
    let mailbox: Mailbox
    var waiting: [Item] = []
    /// Where messages for this mailbox were left on disk because too many waited already.
    var leftBehind: Set<QueueStore.Place> = []
    /// The process that delivers to this mailbox; it stays a moment when there is nothing to do, for what may follow.
    var worker: Worker?

    init(_ mailbox: Mailbox) { self.mailbox = mailbox }

    var isBusy: Bool { worker?.items.isEmpty == false }

    /// The most messages in one batch: with their descriptors they have to fit one datagram.
    static let batchLimit = 50

    /// The most that wait in memory for one mailbox.
    static let waitingLimit = 200

    func takeBatch() -> [Item] {
        let batch = Array(waiting.prefix(Lane.batchLimit))
        waiting.removeFirst(batch.count)
        return batch
    }
}

/// A delivery process, at the other end of a socket.
final class Worker {
    private let socket: Descriptor
    /// What it is delivering; empty while it waits.
    private(set) var items: [Item] = []
    /// On the monotonic clock.
    private(set) var idleSince = 0

    /// How long a process stays for what may follow.
    static let lingerMilliseconds = 1000

    init(_ lane: Lane, hostname: [UInt8], from template: Template, tag: UInt64) throws(SystemError) {
        let ends = try Socket.pair()
        let user = "\(lane.mailbox.uid):\(lane.mailbox.gid)"
        try template.start(tag: tag, arguments: [Array(user.utf8), Array(lane.mailbox.maildir.utf8), hostname], descriptors: [ends.second.raw])
        socket = ends.takeFirst()
    }

    var descriptor: Int32 { socket.raw }

    func deliver(_ items: [Item], from store: borrowing QueueStore, runnerStarted: Int) throws(SystemError) {
        var arguments: [[UInt8]] = []
        var descriptors: [Int32] = []
        // Kept until they are sent: what is passed on is copied by the kernel then.
        var opened: [OwnedDescriptor] = []
        for item in items {
            let message = item.message
            // The same name at every try, by which a delivery that was made and not recorded is recognised.
            arguments.append(Array("\(message.arrival).Q\(message.id.text)R\(item.number)".utf8))
            arguments.append(Array((message.mayBeDelivered(runnerStarted: runnerStarted) ? "again" : "").utf8))
            arguments.append(message.open.envelope.sender?.bytes ?? [])
            arguments.append(item.recipient.address.bytes)
            // A file's position is shared by all who hold it: several recipients need several openings.
            var file = message.open.file.raw
            if message.open.envelope.recipients.count > 1 {
                let own = OwnedDescriptor(try store.root.open(message.open.place.text + "/" + message.id.text))
                file = own.descriptor.raw
                opened.append(own)
            }
            try IO.seek(file, to: message.open.messageOffset)
            descriptors.append(file)
        }
        try Socket.send(socket.raw, TemplateRequest(arguments: arguments, environment: [], descriptors: []).encoded(tag: 0), descriptors: descriptors)
        self.items = items
    }

    /// What came of the batch: each item with its report line. nil: the process has ended, and its items have no outcome.
    func report() -> [(Item, ArraySlice<UInt8>?)]? {
        guard let (bytes, _) = (try? Socket.receive(socket.raw, limit: 65536)) ?? nil else { return nil }
        let lines = bytes.split(separator: 10)
        let result = items.enumerated().map { ($1, $0 < lines.count ? lines[$0] : nil) }
        items = []
        idleSince = Clock.monotonicMilliseconds()
        return result
    }
}
