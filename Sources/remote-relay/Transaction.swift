// One mail transaction from the client's side (RFC 5321 3.3): envelope in, groups of commands out, replies in, an outcome for each
// recipient. With PIPELINING the whole envelope is one group (RFC 2920). Pure: Session does what it says.
import Mail

struct Transaction {
    /// A command whose reply is waited for. `content` is the message itself with its final dot.
    enum Stage: Equatable {
        case reset, sender, recipient(Int), data, content
    }

    enum Step: Equatable {
        /// Send these octets, and take a reply for each of these.
        case commands([UInt8], [Stage])
        case content
        /// The dot alone: the peer waits for a message that nobody is to get (RFC 2920 3.1).
        case emptyContent
        case done
    }

    /// RFC 5321 4.5.3.1.8: every server takes so many.
    private static let mostRecipients = 100

    private let envelope: Envelope
    private let peer: Capabilities
    private let host: [UInt8]
    private let size: Int?
    private var isUTF8: Bool
    /// Recipients of this transaction, by place in the envelope.
    private var chosen: [Int] = []
    private var waiting: [Stage] = []
    private var accepted: [Int] = []
    /// The peer had enough recipients when it came to these (RFC 5321 4.5.3.1.10).
    private var postponed: [(Int, Reply)] = []
    private var isOpen = false
    private var takesContent = false
    /// By place in the envelope; nil: none yet, and another transaction may try.
    private(set) var outcomes: [Outcome?]
    /// The peer knows of a transaction that has not been ended.
    private(set) var needsReset: Bool
    private(set) var takenCount = 0

    /// Tries the recipients that have no outcome, at most as many as the peer takes. `size`: nil if it is not known. `hasUTF8Header`:
    /// the message's header is not ASCII. `needsReset`: a transaction before this one was not ended.
    init(_ envelope: Envelope, _ outcomes: [Outcome?], to peer: Capabilities, host: [UInt8], size: Int?, hasUTF8Header: Bool, needsReset: Bool) {
        self.envelope = envelope
        self.outcomes = outcomes
        self.peer = peer
        self.host = host
        self.size = size
        self.needsReset = needsReset
        let isUTF8ForAll = hasUTF8Header || envelope.sender?.isASCII == false
        isUTF8 = isUTF8ForAll
        for (place, recipient) in envelope.recipients.enumerated() where outcomes[place] == nil {
            let isASCII = recipient.address.isASCII
            if !peer.hasSMTPUTF8, isUTF8ForAll || !isASCII {
                // RFC 6531 3.2: such a message must not be sent to such a peer, and nobody may rewrite it on the way.
                settle(place, Outcome(.failed, "5.6.7", "the mail server of the destination takes no addresses or headers in UTF-8 (it has no SMTPUTF8)"))
            } else if let most = peer.mostOctets, let size, size > most {
                // RFC 1870 6.1: it would be refused after it was sent.
                settle(place, Outcome(.failed, "5.3.4", "the message has \(size) octets, and the mail server of the destination takes \(most)"))
            } else if chosen.count < min(Transaction.mostRecipients, peer.mostRecipients ?? .max) {
                chosen.append(place)
                if !isASCII { isUTF8 = true }
            }
        }
        if chosen.isEmpty { return }
        if needsReset { waiting.append(.reset) }
        waiting.append(.sender)
        for place in chosen { waiting.append(.recipient(place)) }
        waiting.append(.data)
    }

    mutating func next() -> Step {
        if takesContent {
            takesContent = false
            return accepted.isEmpty ? .emptyContent : .content
        }
        if waiting.isEmpty { return .done }
        let group = peer.hasPipelining ? waiting : [waiting[0]]
        waiting.removeFirst(group.count)
        var commands: [UInt8] = []
        commands.reserveCapacity(64 * group.count)
        for stage in group { append(stage, to: &commands) }
        return .commands(commands, group)
    }

    /// False: no peer may answer so.
    mutating func take(_ reply: Reply, for stage: Stage) -> Bool {
        if reply.severity == 3, stage != .data { return false }
        switch stage {
        case .reset: needsReset = false
        case .sender:
            isOpen = reply.isDone
            needsReset = isOpen
            if !isOpen {
                for place in chosen { settle(place, reply) }
                waiting = []
            }
        case .recipient(let place):
            // Behind a sender that was refused, it is only that which this says again.
            if !isOpen { break }
            if reply.isDone { accepted.append(place) }
            else if Transaction.isEnough(reply) { postponed.append((place, reply)) }
            else { settle(place, reply) }
            if accepted.isEmpty, waiting == [.data] { end() }
        case .data:
            if reply.code == 354 { takesContent = true; break }
            if reply.severity < 4 { return false }
            for place in accepted { settle(place, reply) }
            end()
        case .content:
            needsReset = false
            for place in accepted { settle(place, reply) }
            // Room again, now that the others are served. If nobody was, it would go round in circles.
            if takenCount == 0 { end() }
        }
        return true
    }

    /// Those that were accepted have this outcome, which no reply of the peer gave.
    mutating func settleAccepted(_ outcome: Outcome) {
        for place in accepted { settle(place, outcome) }
        end()
    }

    /// No message will follow: who was put off hears it now.
    private mutating func end() {
        for (place, reply) in postponed { settle(place, reply) }
        postponed = []
        accepted = []
        waiting = []
    }

    private static func isEnough(_ reply: Reply) -> Bool {
        // RFC 5321 4.5.3.1.10: 552 is how old servers say 452 here. Both mean other things too, and then a status says so.
        (reply.code == 452 || reply.code == 552) && (reply.status.map { $0.dropFirst().elementsEqual(".5.3".utf8) } ?? true)
    }

    private mutating func settle(_ place: Int, _ reply: Reply) {
        let kind: Outcome.Kind = reply.isDone ? .taken : reply.severity == 4 || Transaction.isEnough(reply) ? .tryAgain : .failed
        if reply.isDone { takenCount += 1 }
        settle(place, Outcome(kind, reply, host: host))
    }

    private mutating func settle(_ place: Int, _ outcome: Outcome) {
        outcomes[place] = outcome
        outcomes[place]?.hasDSN = peer.hasDSN
    }
}

// MARK: Commands

extension Transaction {
    private func append(_ stage: Stage, to commands: inout [UInt8]) {
        switch stage {
        case .reset: commands += "RSET".utf8
        case .sender:
            commands += "MAIL FROM:<".utf8
            if let sender = envelope.sender { commands += sender.bytes }
            commands.append(0x3e)
            // An estimate, as RFC 1870 6.1 allows: line ends count twice, dots that are doubled do not.
            if peer.hasSize, let size { commands += " SIZE=\(size)".utf8 }
            // To a peer without 8BITMIME, 8-bit octets go as they are: every server of today keeps them, and rewriting the message
            // would break its signatures.
            if peer.has8BitMIME, envelope.is8Bit { commands += " BODY=8BITMIME".utf8 }
            if peer.hasSMTPUTF8, isUTF8 || envelope.isSMTPUTF8 { commands += " SMTPUTF8".utf8 }
            if peer.hasDSN {
                if let returned = envelope.returned { commands += " RET=\(returned.rawValue)".utf8 }
                if let id = envelope.envelopeID, XText.isValid(id), !id.isEmpty { commands += " ENVID=".utf8 + id }
            }
        case .recipient(let place):
            let recipient = envelope.recipients[place]
            commands += "RCPT TO:<".utf8
            commands += recipient.address.bytes
            commands.append(0x3e)
            if peer.hasDSN {
                if let notify = recipient.notify { commands += " NOTIFY=".utf8 + notify.bytes }
                if let original = recipient.originalRecipient, isWord(original) { commands += " ORCPT=".utf8 + original }
            }
        case .data: commands += "DATA".utf8
        case .content: return
        }
        commands += [0x0d, 0x0a]
    }

    /// Nothing that would end the parameter; UTF-8 only where addresses may have it (RFC 6533 3).
    private func isWord(_ text: [UInt8]) -> Bool {
        !text.isEmpty && text.allSatisfy { 0x21...0x7e ~= $0 || $0 >= 0x80 && peer.hasSMTPUTF8 && isUTF8 }
    }
}
