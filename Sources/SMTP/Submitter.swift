// Who sends at the outgoing server, and as whom they may. The envelope's sender and the header's From are held to it, so that
// nobody sends as someone else.
import Mail

/// Who is at the other end of a session of the outgoing server.
public enum Submitter: Equatable, Sendable {
    /// Not known yet: must authenticate first.
    case nobody
    /// A mailbox' owner, who sends as this address and no other.
    case mailbox(Address)
    /// A program of this host: sends as any mailbox there is.
    case host
}

/// The answer to "are these the right user and password?"
public enum Authentication: Equatable, Sendable {
    /// Yes; and this is the user's mailbox.
    case accepted(Address)
    case refused
    /// Too many wrong ones lately; nobody has looked whether this was right.
    case slowedDown
    /// Whoever knows passwords does not answer.
    case unavailable
}

/// The answer to "is this address a mailbox here, that somebody may send as?"
public enum SenderAnswer: Equatable, Sendable {
    case exists, unknown, trouble
}

extension Dialogue {
    /// Refuses a sender that is not the submitter's to use. nil: fine, or for the driver to look up.
    mutating func refusesSender(_ sender: Address?) -> Bool {
        switch submitter {
        case nil, .host: return false
        case .nobody:
            reply("530 5.7.0 Authentication required")
            return true
        case .mailbox(let own):
            // The null sender names nobody; what it may say is held to From.
            guard let sender, sender.key != own.key else { return false }
            replyForeign(own)
            return true
        }
    }

    mutating func replyForeign(_ own: Address?) {
        // A client that does not know SMTPUTF8 reads ASCII (RFC 6531 3.7.4).
        if let own, own.isASCII { reply("550 5.7.1 You may send as <", own.bytes, "> only") } else if submitter == .host { reply("550 5.7.1 You may send as a mailbox of this host only") }
        else { reply("550 5.7.1 You may send as your own address only") }
    }

    /// Of a sender that a program of this host has named.
    mutating func answerSender(_ answer: SenderAnswer) {
        let isEnvelope = transaction?.isSenderAsked == true
        transaction?.isSenderAsked = false
        switch answer {
        case .exists:
            if isEnvelope, let size = transaction?.declaredSize { want(.room(size: size)) }
            return
        case .unknown: replyForeign(nil)
        case .trouble: reply("451 4.3.0 I cannot look that up now; try again later")
        }
        if isEnvelope { transaction = nil; return }
        forgetCompletion()
        dropMessage()
    }

    /// Whether the fields that say who sends name anybody but the submitter; what a program of this host names is asked for. A field that
    /// cannot be read says nothing that could be relied on, and is refused.
    mutating func refusesHeader() -> Bool {
        guard let header = contentReader?.submission else { return false }
        let isRefused = refuses(header)
        if isRefused { forgetCompletion() }
        return isRefused
    }

    private mutating func refuses(_ header: SubmissionHeader) -> Bool {
        guard header.hasOneFrom else { reply("550 5.7.1 A message has one From field"); return true }
        for body in header.identities {
            guard let addresses = AddressList.parse(body), !addresses.isEmpty else {
                reply("550 5.7.1 From and Sender have to name your address, and I cannot read what they name")
                return true
            }
            for address in addresses {
                if case .mailbox(let own) = submitter, address.key != own.key { replyForeign(own); return true }
                if submitter == .host, !waiting.contains(.lookUpSender(address)) { waiting.append(.lookUpSender(address)) }
            }
        }
        return false
    }

    /// Whom the message counts as sent by: it is written in the envelope, and its budget is charged.
    var accountable: Address? {
        switch submitter {
        case .mailbox(let own): own
        case .host: transaction?.sender ?? Address(localPart: Array("postmaster".utf8), domain: hostname)
        case nil, .nobody: nil
        }
    }
}
