// MAIL FROM:<reverse-path> (RFC 5321 4.1.1.2), with SIZE (RFC 1870), BODY (RFC 6152) and SMTPUTF8 (RFC 6531); at the outgoing
// server also RET and ENVID (RFC 3461) and AUTH (RFC 4954).
import Mail

extension Dialogue {
    mutating func mail(_ argument: ArraySlice<UInt8>) {
        guard greeting != nil else { reply("503 5.5.1 Say HELO or EHLO first"); return }
        guard transaction == nil else { reply("503 5.5.1 One message at a time; RSET forgets the one under way"); return }
        guard messages < limits.messagesPerSession else {
            reply("421 4.7.0 Enough messages for one session; please connect again")
            end()
            return
        }
        guard let text = Dialogue.afterKeyword("FROM:", argument) else {
            reply("501 5.5.4 The form is MAIL FROM:<address>")
            return
        }
        var parser = AddressParser(Array(text))
        var new = Transaction()
        switch parser.reversePath() {
        case .success(let sender): new.sender = sender
        case .failure(.tooLong): reply("501 5.1.7 The sender's address is too long"); return
        case .failure: reply("501 5.1.7 The sender's address is malformed"); return
        }
        guard let parameters = parameters(parser.rest) else { return }
        if refusesSender(new.sender) { return }
        for (name, value) in parameters {
            switch name {
            case "RET" where submitter != nil:
                guard let value, let returned = Returned(rawValue: String(decoding: value.map(\.uppercased), as: UTF8.self)) else {
                    reply("501 5.5.4 RET is FULL or HDRS")
                    return
                }
                new.returned = returned
            case "ENVID" where submitter != nil:
                guard let value, value.count <= 100, XText.isValid(value) else { reply("501 5.5.4 ENVID is xtext of at most 100 octets"); return }
                new.envelopeID = value
            case "AUTH" where submitter != nil:
                // Who it comes from is known better here; the claim is read and forgotten (RFC 4954 5).
                guard let value, value == [0x3c, 0x3e] || XText.isValid(value) else { reply("501 5.5.4 AUTH is xtext or <>"); return }
            case "SIZE":
                guard let value, value.count <= 20, value.allSatisfy({ 0x30...0x39 ~= $0 }) else {
                    reply("501 5.5.4 SIZE is a number of octets")
                    return
                }
                // Twenty digits are allowed (RFC 1870 4), and more than this machine counts.
                new.declaredSize = Int(String(decoding: value, as: UTF8.self)) ?? Int.max
            case "BODY":
                switch value.map({ String(decoding: $0.map(\.uppercased), as: UTF8.self) }) {
                case "7BIT": break
                case "8BITMIME": new.is8Bit = true
                default: reply("501 5.5.4 BODY is 7BIT or 8BITMIME"); return
                }
            case "SMTPUTF8":
                guard value == nil else { reply("501 5.5.4 SMTPUTF8 takes no value"); return }
                new.isSMTPUTF8 = true
            default:
                reply("555 5.5.4 I do not know that parameter of MAIL")
                return
            }
        }
        if let sender = new.sender, !sender.isASCII, !new.isSMTPUTF8 {
            reply("553 5.6.7 That address needs SMTPUTF8")
            return
        }
        if new.declaredSize > limits.messageSize {
            reply("552 5.3.4 The message is larger than I take: at most ", Array(String(limits.messageSize).utf8), " octets")
            return
        }
        if submitter == .host, let sender = new.sender {
            new.isSenderAsked = true
            want(.lookUpSender(sender))
        } else {
            want(.room(size: new.declaredSize))
        }
        transaction = new
    }

    /// Whether the queue has room for what was declared (RFC 1870 6.1).
    mutating func answerSender(hasRoom: Bool) {
        guard hasRoom else {
            transaction = nil
            reply(StoreFault.noSpace)
            return
        }
        reply("250 2.1.0 Sender taken")
    }

    /// What follows `FROM:` or `TO:`, a space after the colon forgiven, as Postfix does.
    static func afterKeyword(_ keyword: String, _ argument: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        guard argument.prefix(keyword.utf8.count).map(\.uppercased) == Array(keyword.utf8) else { return nil }
        return argument.dropFirst(keyword.utf8.count).drop { $0 == 0x20 }
    }

    /// ` NAME[=value]`, each at most once (RFC 5321 4.1.2); replies itself and returns nil when they are malformed.
    mutating func parameters(_ text: ArraySlice<UInt8>) -> [(name: String, value: [UInt8]?)]? {
        var result: [(name: String, value: [UInt8]?)] = []
        guard text.isEmpty || text.first == 0x20 else {
            reply("501 5.5.4 Something is left behind the address")
            return nil
        }
        guard text.allSatisfy({ $0 < 0x80 }) else {
            reply("500 5.5.2 Only ASCII outside of addresses")
            return nil
        }
        for word in text.split(separator: 0x20) {
            let parts = word.split(separator: 0x3d, maxSplits: 1, omittingEmptySubsequences: false)
            let name = String(decoding: parts[0].map(\.uppercased), as: UTF8.self)
            guard !name.isEmpty, name.utf8.allSatisfy({ 0x30...0x39 ~= $0 || 0x41...0x5a ~= $0 || $0 == 0x2d }), name.utf8.first != 0x2d,
                  parts.count == 1 || !parts[1].isEmpty, parts.count == 1 || parts[1].allSatisfy({ 0x21...0x7e ~= $0 && $0 != 0x3d }) else {
                reply("501 5.5.4 That parameter is malformed")
                return nil
            }
            guard !result.contains(where: { $0.name == name }) else {
                reply("501 5.5.4 A parameter stands there twice")
                return nil
            }
            result.append((name, parts.count == 2 ? Array(parts[1]) : nil))
        }
        return result
    }
}
