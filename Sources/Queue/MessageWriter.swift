// Putting a message into the queue: a file without a name is filled, flushed, named in queue/new, and the name flushed.
// Until it is named it does not exist for anybody, and vanishes with the process that writes it: an aborted session leaves
// nothing behind. semail-queue.5 counts the flushes.
import Mail
import Unix

/// The entrance to the queue. It may be opened before a program locks itself in: it then can add messages, and nothing else.
public struct QueueEntrance: ~Copyable {
    let new: Directory
    /// Files belong to the session's user and the queue's group. When those are different people, the owner has no right
    /// to its own file: what is taken over in one session cannot open what another has put here.
    private let fileMode: UInt32

    /// A file with this bit (the sticky one, which has no other meaning for files) may leave the host. It is given with the file's birth:
    /// whom the sandbox keeps from asking for it cannot add such a message.
    public static let leavingBit: UInt32 = 0o1000

    /// The directory with the trigger FIFO in it.
    let run: Directory

    /// `mayLeave`: what comes in here may go to other hosts.
    public init(queue: String, run: String, mayLeave: Bool) throws(SystemError) {
        let new = try Directory(queue + "/new")
        let runDirectory = try Directory(searching: run)
        let owner = try IO.status(new.descriptor.raw).uid
        fileMode = (owner == User.current.uid ? 0o600 : 0o060) | (mayLeave ? QueueEntrance.leavingBit : 0)
        self.new = new
        self.run = runDirectory
    }

    public func begin(_ envelope: Envelope) throws(SystemError) -> MessageWriter {
        var envelope = envelope
        envelope.received = Clock.microseconds()
        return MessageWriter(
            id: QueueID.make(microseconds: envelope.received), file: try new.createUnnamed(mode: fileMode), beginning: envelope.encoded())
    }

    /// The message is in the queue and survives a power cut when this returns.
    public func commit(_ writer: consuming MessageWriter) throws(SystemError) {
        let id = writer.id
        try writer.flush()
        let file = writer.finish()
        try IO.flush(file.raw)
        try new.link(file, as: id.text)
        // Should its flush fail, the client hears 451 and sends again; this one is delivered all the same, and at once.
        // A duplicate now is better than one in a month.
        defer { wake(id) }
        try new.flush()
        try file.close()
    }

    /// Tells qrunner the name. Nobody there, or no room: qrunner finds it when it next looks through queue/new.
    private func wake(_ id: QueueID) {
        guard let trigger = try? run.open("trigger", .writeOnlyNonblocking) else { return }
        try? IO.writeAll(trigger.raw, Array((id.text + "\n").utf8))
    }
}

/// One message on its way into the queue.
public struct MessageWriter: ~Copyable {
    public let id: QueueID
    private let file: Descriptor
    /// What is not in the file yet: small messages are one write.
    private var pending: [UInt8]
    private var unflushed = 0
    /// Something is missing in the file: it can never be committed.
    private var hasFailed = false

    fileprivate init(id: QueueID, file: consuming Descriptor, beginning: [UInt8]) {
        self.id = id
        self.file = file
        pending = beginning
    }

    public mutating func write(_ bytes: [UInt8]) throws(SystemError) {
        if pending.count + bytes.count <= 16384 {
            pending += bytes
            return
        }
        // A large message is written from where it was read into.
        try flush()
        try write(through: bytes)
    }

    fileprivate mutating func flush() throws(SystemError) {
        try write(through: pending)
        pending.removeAll(keepingCapacity: true)
    }

    private mutating func write(through bytes: [UInt8]) throws(SystemError) {
        if hasFailed { throw SystemError("write", id.text, code: 5 /* EIO */) }
        hasFailed = true
        try IO.writeAll(file.raw, bytes)
        hasFailed = false
        unflushed += bytes.count
        // The disk begins early on what would otherwise all come with the flush at the end.
        if unflushed >= 1 << 20 {
            IO.beginWriting(file.raw)
            unflushed = 0
        }
    }

    fileprivate consuming func finish() -> Descriptor { file }
}
