// One message handed over. All or nothing: if a recipient is refused, nobody gets it, so that an exit code says what has happened and
// a second try makes no second copies.
import Mail

struct Submission {
    private let call: Call
    private let identity: Identity

    init(_ call: Call, _ identity: Identity) {
        self.call = call
        self.identity = identity
    }

    func send(_ read: Message, to service: String) throws {
        var message = read
        let recipients = try recipients(message.header)
        let sender = try sender()
        try message.header.complete(from: from, domain: identity.domain)
        let conversation = Conversation(try connect(service), isShown: call.isVerbose)
        try expect(conversation.reply())
        let greeting = try conversation.say(Array("EHLO ".utf8) + identity.greeting)
        try expect(greeting)
        let offers = Offers(greeting)
        let mail = try mail(sender, message, recipients, offers)

        let groups = stride(from: 0, to: recipients.count, by: offers.recipients).map { Array(recipients[$0..<min($0 + offers.recipients, recipients.count)]) }
        // More than one message: let it not be found out at the last that there is a reason against all.
        if groups.count > 1 {
            for group in groups {
                try begin(mail, group, offers, conversation)
                try expect(conversation.say(Array("RSET".utf8)))
            }
        }
        for (index, group) in groups.enumerated() {
            do {
                try begin(mail, group, offers, conversation)
                let reply = try conversation.say(Array("DATA".utf8))
                guard reply.code == 354 else { throw Trouble(reply) }
                try message.forEach(conversation.write)
                try expect(conversation.lastReply())
            } catch let trouble as Trouble where index > 0 {
                throw Trouble("\(trouble.text) (the first \(index * offers.recipients) recipients get it)", trouble.code)
            }
        }
        // It is taken, whatever comes of the farewell.
        _ = try? conversation.say(Array("QUIT".utf8))
    }

    // MARK: Who

    private func recipients(_ header: Header) throws -> [Address] {
        var found: [Address] = []
        for word in call.recipients {
            guard let list = try AddressField(Array(word.utf8), domain: identity.domain), !list.addresses.isEmpty, !word.unicodeScalars.contains("\u{FFFD}") else {
                throw Trouble("\"\(word)\" is no address", .usage)
            }
            found += list.addresses
        }
        if call.takesRecipientsFromHeader { found += try header.recipients(identity.domain) }
        var seen: Set<[UInt8]> = []
        found = found.filter { seen.insert($0.key).inserted }
        guard found.isEmpty else { return found }
        if call.takesRecipientsFromHeader { throw Trouble("the message names no recipients in To, Cc or Bcc", .data) }
        throw Trouble("there are no recipients: name them, or say -t", .usage)
    }

    /// nil: the null sender.
    private func sender() throws -> Address? {
        guard let written = call.sender else { return try identity.address() }
        if written.isEmpty || written == "<>" { return nil }
        guard let list = try AddressField(Array(written.utf8), domain: identity.domain), list.addresses.count == 1 else { throw Trouble("-f \"\(written)\" is no address", .usage) }
        return list.addresses[0]
    }

    /// The body of a From field.
    private func from() throws(Trouble) -> [UInt8] {
        let name = call.fullName.map { Array($0.utf8) }
        var address = try identity.address()
        if let written = call.sender, let list = try AddressField(Array(written.utf8), domain: identity.domain), let named = list.addresses.first { address = named }
        return Header.mailbox(name ?? identity.fullName, address)
    }

    // MARK: The dialogue

    private func mail(_ sender: Address?, _ message: Message, _ recipients: [Address], _ offers: Offers) throws -> [UInt8] {
        var line = Array("MAIL FROM:<".utf8) + (sender?.bytes ?? []) + [0x3e]
        if offers.has("SIZE") { line += Array(" SIZE=\(message.size)".utf8) }
        let isUTF8 = message.header.is8Bit || sender?.isASCII == false || recipients.contains { !$0.isASCII }
        if isUTF8 && offers.has("SMTPUTF8") { line += Array(" SMTPUTF8".utf8) }
        if (message.is8Bit || isUTF8) && !call.is7Bit && offers.has("8BITMIME") { line += Array(" BODY=8BITMIME".utf8) }
        if let returned = call.returned, offers.has("DSN") { line += Array(" RET=\(returned.rawValue)".utf8) }
        if let id = call.envelopeID, offers.has("DSN") { line += Array(" ENVID=".utf8) + id }
        return line
    }

    private func begin(_ mail: [UInt8], _ recipients: [Address], _ offers: Offers, _ conversation: Conversation) throws {
        try expect(conversation.say(mail))
        for recipient in recipients {
            var line = Array("RCPT TO:<".utf8) + recipient.bytes + [0x3e]
            if let notify = call.notify, offers.has("DSN") { line += Array(" NOTIFY=".utf8) + notify }
            let reply = try conversation.say(line)
            guard reply.isTaken else { throw Trouble(reply, about: recipient.bytes) }
        }
    }

    private func expect(_ reply: Reply) throws {
        guard reply.isTaken else { throw Trouble(reply) }
    }
}

/// What EHLO was answered with.
private struct Offers {
    private let words: [[String]]

    init(_ greeting: Reply) {
        words = greeting.lines.dropFirst().map { String(decoding: $0.map(\.uppercased), as: UTF8.self).split(separator: " ").map(String.init) }
    }

    func has(_ name: String) -> Bool { words.contains { $0.first == name } }

    /// RFC 9422; without it RFC 5321 4.5.3.1.8 has at least 100.
    var recipients: Int {
        let limits = words.first { $0.first == "LIMITS" } ?? []
        return limits.first { $0.hasPrefix("RCPTMAX=") }.flatMap { Int($0.dropFirst(8)) }.map { max(1, $0) } ?? 100
    }
}
