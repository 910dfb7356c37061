// One SMTP session as a state machine (RFC 5321): octets in, replies and steps out. It touches no file, no clock and no
// descriptor; whoever drives it does what each step asks and comes back. Both servers are this one machine.
import Mail

/// What the driver must do next.
public enum Step: Equatable {
    /// Send the replies, then fill `input` and come back; or say that it has ended.
    case read
    /// See whether the queue has room for a message of this size, then `room(_:)`.
    case room(size: Int)
    /// Look the address up, then `answer(_:)`.
    case lookUp(Address, size: Int)
    /// See whether the address is a mailbox here, then `answer(_:)`.
    case lookUpSender(Address)
    /// See whether these are right, then `answer(_:)`.
    case authenticate(user: [UInt8], password: [UInt8])
    /// Begin a message file with this envelope, then `opened(_:)`.
    case open(Envelope)
    /// Write `content` to the message file, then `stored(_:)`.
    case store
    /// Make the message durable and part of the queue, then `committed(_:)`.
    case commit
    /// Drop the message file: the transaction is over without a message.
    case discard
    /// Send the replies, then wait for the error pause.
    case pause
    /// Send the replies and close.
    case end
    /// Send the replies, let the client read them although it is still sending, and close.
    case endDraining
}

/// The state of the dialogue; each command is a function that is given it.
public struct Dialogue {
    public let hostname: [UInt8]
    public let limits: Limits
    public let client: Client
    /// What the client has sent; the driver fills it.
    public let input: InputBuffer
    /// What is to be sent; the driver empties it.
    public var replies: [UInt8] = []
    /// What is to be written to the message file.
    public internal(set) var content: [UInt8] = []

    /// HELO or EHLO and its argument.
    struct Greeting {
        let name: [UInt8]
        let isExtended: Bool
    }

    /// A message being sent, from MAIL on.
    struct Transaction {
        var sender: Address?
        /// The answer whether the sender may be used is still to come.
        var isSenderAsked = false
        var declaredSize = 0
        var is8Bit = false
        var isSMTPUTF8 = false
        var returned: Returned?
        var envelopeID: [UInt8]?
        var recipients: [Envelope.Recipient] = []
        /// The last that was asked for, as the client wrote it, and what it wants to be told.
        var asked: Envelope.Recipient?
        /// For the Received line, where it is the only one.
        var firstRecipient: Address?
        var accepted = 0
        /// Octets of the addresses: the envelope they make has a bound, whatever the control files say.
        var addressOctets = 0
        var hasRefused = false
        /// BDAT has begun.
        var isChunked = false
    }

    enum Mode {
        case commands
        /// The answer to a challenge of AUTH.
        case auth(AuthExchange)
        /// The rest of a line that was too long and is answered already.
        case longLine
        /// Content after DATA.
        case data
        /// Content of a BDAT chunk.
        case chunk(left: Int, isLast: Bool)
        /// A chunk nobody wants.
        case unwantedChunk(left: Int)
        case over

        var isOver: Bool { if case .over = self { true } else { false } }
    }

    /// nil: this is the inbound server.
    public internal(set) var submitter: Submitter?
    var isAuthenticated = false
    var failedAuthentications = 0
    var greeting: Greeting?
    var transaction: Transaction?
    var mode = Mode.commands
    var messages = 0
    private var errors = 0
    private var owesPause = false
    var waiting: [Step] = []
    var contentReader: Content?
    var storeFault: StoreFault?
    /// What the message under way gets if it lacks it; nil: messages pass as they are.
    var additions: SubmissionHeader.Additions?
    private var hasOpenMessage = false

    /// `hasSpokenFirst`: octets were waiting before our greeting (RFC 5321 3.1: the client waits for it).
    public init(hostname: [UInt8], limits: Limits, client: Client, hasSpokenFirst: Bool) {
        self.hostname = hostname
        self.limits = limits
        self.client = client
        submitter = client.submitter
        input = InputBuffer()
        if hasSpokenFirst && !client.isByHand {
            reply("554 5.5.0 You spoke before the greeting; good-bye")
            endDraining()
        } else {
            reply("220 ", hostname, " ESMTP SEMail")
        }
    }

    // MARK: What the driver calls

    public mutating func next() -> Step {
        while true {
            if !waiting.isEmpty { return waiting.removeFirst() }
            if owesPause {
                owesPause = false
                if !client.isByHand { return .pause }
            }
            switch mode {
            case .over: return .end
            case .commands, .auth: if !takeCommand() { return .read }
            case .longLine: if !skipLine() { return .read }
            case .data: if !takeContent() { return .read }
            case .chunk(let left, let isLast): if !takeChunk(left, isLast) { return .read }
            case .unwantedChunk(let left): if !skipChunk(left) { return .read }
            }
        }
    }

    public mutating func room(_ isThere: Bool) { answerSender(hasRoom: isThere) }

    public mutating func answer(_ answer: MailboxAnswer) { answerRecipient(answer) }

    public mutating func answer(_ answer: SenderAnswer) { answerSender(answer) }

    public mutating func answer(_ answer: Authentication) { answerAuthentication(answer) }

    /// The message file is there, under the name `id` in the queue; or it could not be made.
    public mutating func opened(_ result: Result<[UInt8], StoreFault>, seconds: Int) {
        switch result {
        case .success(let id):
            hasOpenMessage = true
            storeFault = nil
            content = received(id: id, seconds: seconds)
            additions = accountable.map {
                SubmissionHeader.Additions(
                    from: (transaction?.sender ?? $0).bytes, date: Array(MailDate.text(seconds: seconds).utf8), messageID: id + [0x40] + hostname)
            }
        case .failure(let fault): storeFault = fault
        }
        beginContent(result)
    }

    public mutating func stored(_ result: Result<Void, StoreFault>) {
        content.removeAll(keepingCapacity: true)
        guard case .failure(let fault) = result, storeFault == nil else { return }
        storeFault = fault
        // The end may have come together with what failed: the answer is due now, and there is nothing to commit.
        let wasComplete = waiting.contains(.commit)
        forgetCompletion()
        dropMessage()
        if wasComplete { reply(fault) }
    }

    public mutating func committed(_ result: Result<[UInt8], StoreFault>) {
        hasOpenMessage = false
        switch result {
        case .success(let id):
            messages += 1
            reply("250 2.0.0 queued as ", id)
        case .failure(let fault): reply(fault)
        }
    }

    /// Time is over: 421 and good-bye.
    public mutating func timeIsOver(_ text: StaticString) {
        dropMessage()
        waiting.removeAll()
        reply(text)
        mode = .over
    }

    // MARK: Replies

    mutating func reply(_ text: StaticString, _ middle: [UInt8] = [], _ end: StaticString = "") {
        let start = replies.count
        replies.append(contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
        replies += middle
        replies.append(contentsOf: UnsafeBufferPointer(start: end.utf8Start, count: end.utf8CodeUnitCount))
        replies += [0x0d, 0x0a]
        if replies[start] == 0x35 { countError() }
    }

    mutating func reply(_ fault: StoreFault) {
        switch fault {
        case .overBudget: reply("451 4.7.1 You have sent all you may for now; try again later")
        case .noSpace: reply("452 4.3.1 The disk of the mail system is full; try again later")
        case .other: reply("451 4.3.0 The mail system could not store that; try again later")
        }
    }

    /// Errors are slowed, then end the session, so that guessing addresses is dear.
    private mutating func countError() {
        errors += 1
        owesPause = true
        if errors == limits.errors {
            reply("421 4.7.0 Too many errors; good-bye")
            end()
        }
    }

    mutating func end() {
        dropMessage()
        mode = .over
    }

    mutating func endDraining() {
        end()
        waiting.append(.endDraining)
    }

    mutating func want(_ step: Step) { waiting.append(step) }

    /// Forgets the transaction and its file.
    mutating func reset() {
        dropMessage()
        transaction = nil
        contentReader = nil
    }

    /// What was to be done for a message that was complete.
    mutating func forgetCompletion() {
        waiting.removeAll { step in
            switch step {
            case .store, .commit, .lookUpSender: true
            default: false
            }
        }
    }

    mutating func dropMessage() {
        content.removeAll()
        if hasOpenMessage { waiting.append(.discard) }
        hasOpenMessage = false
    }
}
