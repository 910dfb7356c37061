// RCPT TO:<forward-path> (RFC 5321 4.1.1.3). At the inbound server only an address that has a mailbox gets a 250: there is no
// relaying, so there is nothing a percent sign, a bang or a source route could ask for. At the outgoing server, whose clients are
// known, an address elsewhere gets one too; NOTIFY and ORCPT (RFC 3461) say what they want to hear.
import Mail

extension Dialogue {
    mutating func rcpt(_ argument: ArraySlice<UInt8>) {
        guard let current = transaction else { reply("503 5.5.1 Say MAIL first"); return }
        guard !current.isChunked else { reply("503 5.5.1 The message has begun; its recipients are complete"); return }
        // Until the answer is yes. DATA tells "none was taken" from "none was named".
        transaction?.hasRefused = true
        guard let text = Dialogue.afterKeyword("TO:", argument) else {
            reply("501 5.5.4 The form is RCPT TO:<address>")
            return
        }
        var parser = AddressParser(Array(text))
        let address: Address
        switch parser.forwardPath() {
        case .success(let parsed): address = parsed
        case .failure(.tooLong): reply("501 5.1.3 The recipient's address is too long"); return
        case .failure: reply("501 5.1.3 The recipient's address is malformed"); return
        }
        guard let parameters = parameters(parser.rest) else { return }
        var recipient = Envelope.Recipient(address)
        for (name, value) in parameters {
            switch name {
            case "NOTIFY" where submitter != nil:
                guard let value, let notify = Notify(value) else { reply("501 5.5.4 NOTIFY is NEVER, or SUCCESS, FAILURE and DELAY joined by commas"); return }
                recipient.notify = notify
            case "ORCPT" where submitter != nil:
                guard let value, value.count <= 500, isOriginalRecipient(value) else { reply("501 5.5.4 ORCPT is a kind of address, a semicolon, and xtext"); return }
                recipient.originalRecipient = value
            default: reply("555 5.5.4 I do not know that parameter of RCPT"); return
            }
        }
        if !address.isASCII, !current.isSMTPUTF8 {
            reply("553 5.6.7 That address needs SMTPUTF8")
            return
        }
        guard current.accepted < limits.recipients else {
            reply("452 4.5.3 Too many recipients; send the message again to the others")
            return
        }
        transaction?.asked = recipient
        want(.lookUp(address, size: current.declaredSize))
    }

    /// RFC 3461 4.2: addr-type ";" xtext.
    private func isOriginalRecipient(_ value: [UInt8]) -> Bool {
        guard let semicolon = value.firstIndex(of: 0x3b), semicolon > 0 else { return false }
        return value[..<semicolon].allSatisfy { 0x30...0x39 ~= $0 || 0x61...0x7a ~= $0.lowercased || $0 == 0x2d } && XText.isValid(value[(semicolon + 1)...])
    }

    mutating func answerRecipient(_ answer: MailboxAnswer) {
        switch answer {
        case .exists(let addresses): take(addresses)
        case .elsewhere: if let asked = transaction?.asked { take([asked.address]) }
        case .unknown: reply("550 5.1.1 There is no such mailbox here")
        case .suspended: reply("450 4.2.1 That mailbox is suspended; try again later")
        case .full: reply("452 4.2.2 That mailbox is full; try again later")
        case .neverFits: reply("552 5.3.4 The message is larger than that mailbox")
        case .trouble: reply("451 4.3.0 I cannot look that up now; try again later")
        }
    }

    private mutating func take(_ addresses: [Address]) {
        guard var current = transaction, let asked = current.asked else { return }
        current.accepted += 1
        current.firstRecipient = current.firstRecipient ?? asked.address
        // An address named twice gets one copy (RFC 5321 4.1.1.3 leaves it to us; people expect one).
        for address in addresses where !current.recipients.contains(where: { $0.address.key == address.key }) {
            current.recipients.append(Envelope.Recipient(address, notify: asked.notify, originalRecipient: asked.originalRecipient))
            current.addressOctets += address.bytes.count + 8 + (asked.originalRecipient?.count ?? 0) + (asked.notify == nil ? 0 : 32)
        }
        guard current.addressOctets < Envelope.sizeLimit / 2 else {
            reply("452 4.5.3 Too many recipients; send the message again to the others")
            return
        }
        transaction = current
        reply("250 2.1.5 Recipient taken")
    }
}
