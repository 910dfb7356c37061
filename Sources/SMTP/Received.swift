// The Received line (RFC 5321 4.4), first of all we add: who gave us the message, how, when, and under which queue id.
import Mail

extension Dialogue {
    /// Ends with a line end; LF, as all that is stored.
    func received(id: [UInt8], seconds: Int) -> [UInt8] {
        let name = greeting?.name ?? []
        var line = Array("Received: from ".utf8) + name
        if client.isByHand {
            line += Array(" (by hand)".utf8)
        } else if client.address.isEmpty {
            line += Array(" (of this host)".utf8)
        } else {
            line += Array(" ([".utf8)
            if client.address.contains(0x3a) { line += Array("IPv6:".utf8) }
            line += client.address + Array("])".utf8)
        }
        line += Array("\n\tby ".utf8) + hostname + Array(" (SEMail) with ".utf8) + protocolName() + Array(" id ".utf8) + id
        if let tls = client.tls { line += Array("\n\t(".utf8) + tls + Array(")".utf8) }
        // Named only when there is one: blind copies stay blind (RFC 5321 7.2).
        if let transaction, transaction.accepted == 1, let recipient = transaction.firstRecipient {
            line += Array("\n\tfor <".utf8) + recipient.bytes + Array(">".utf8)
        }
        return line + Array(";\n\t".utf8) + Array(MailDate.text(seconds: seconds).utf8) + [0x0a]
    }

    /// RFC 3848, and RFC 6531 3.7.3 for UTF-8.
    private func protocolName() -> [UInt8] {
        guard greeting?.isExtended == true else { return Array("SMTP".utf8) }
        let base = transaction?.isSMTPUTF8 == true ? "UTF8SMTP" : "ESMTP"
        return Array((base + (client.tls != nil ? "S" : "") + (isAuthenticated ? "A" : "")).utf8)
    }
}
