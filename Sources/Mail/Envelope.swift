// The envelope: who a message is from, whom it is for, and how it came. In a queue file it stands as text before
// the message, so that `head` shows it; semail-queue.5 describes it. Pure: octets in, octets out.

public struct Envelope: Equatable, Sendable {
    /// What a recipient waits for; one octet in the queue file.
    public enum Mark: UInt8, Sendable {
        case waiting = 0x57  // W
        /// Waiting, and the sender has been told that it takes long.
        case delayed = 0x4c  // L
        /// Delivered to, or failed for good.
        case done = 0x44  // D
    }

    public struct Recipient: Equatable, Sendable {
        public let address: Address
        public var mark: Mark
        /// What the sender wants to hear of (RFC 3461 4.1); nil: said nothing, which means failure and perhaps delay.
        public var notify: Notify?
        /// RFC 3461 4.2, as it came: `rfc822;` and the address in xtext.
        public var originalRecipient: [UInt8]?
        /// Where in the queue file its mark stands; 0 in an envelope that was not read from a file.
        public var markOffset: Int

        public var isWaiting: Bool { mark != .done }

        public init(_ address: Address, mark: Mark = .waiting, notify: Notify? = nil, originalRecipient: [UInt8]? = nil, markOffset: Int = 0) {
            self.address = address
            self.mark = mark
            self.notify = notify
            self.originalRecipient = originalRecipient
            self.markOffset = markOffset
        }
    }

    /// The mailbox that submitted the message, when it came by the outgoing server: only such messages leave this host.
    public var submitter: Address?

    /// Microseconds since 1970 of the acceptance.
    public var received: Int
    /// The address of the client that brought it, for people; empty when it came by hand.
    public var client: [UInt8]
    /// nil: the null sender, `<>`, which is never answered.
    public var sender: Address?
    public var recipients: [Recipient]
    /// RFC 6152: the client said BODY=8BITMIME.
    public var is8Bit: Bool
    /// RFC 6531: addresses or headers may be UTF-8.
    public var isSMTPUTF8: Bool
    /// RFC 3461 4.3: how much of the message a bounce returns; nil: said nothing.
    public var returned: Returned?
    /// RFC 3461 4.4, in xtext as it came.
    public var envelopeID: [UInt8]?

    public init(received: Int, client: [UInt8] = [], sender: Address?, recipients: [Address], is8Bit: Bool = false, isSMTPUTF8: Bool = false) {
        self.init(received: received, client: client, sender: sender, to: recipients.map { Recipient($0) }, is8Bit: is8Bit, isSMTPUTF8: isSMTPUTF8)
    }

    public init(received: Int, client: [UInt8] = [], sender: Address?, to recipients: [Recipient], is8Bit: Bool = false, isSMTPUTF8: Bool = false) {
        self.received = received
        self.client = client
        self.sender = sender
        self.recipients = recipients
        self.is8Bit = is8Bit
        self.isSMTPUTF8 = isSMTPUTF8
    }

    static let firstLine = Array("semail 1".utf8)

    /// The text form, its closing empty line included.
    public func encoded() -> [UInt8] {
        var text = Envelope.firstLine
        text.reserveCapacity(256)
        func line(_ key: String, _ value: [UInt8]) {
            text.append(0x0a)
            text += Array(key.utf8)
            text.append(0x20)
            text += value
        }
        let fraction = String(received % 1_000_000)
        line("received", Array("\(received / 1_000_000).\(String(repeating: "0", count: 6 - fraction.utf8.count))\(fraction)".utf8))
        if !client.isEmpty { line("client", client) }
        if is8Bit { line("body", Array("8bitmime".utf8)) }
        if isSMTPUTF8 { line("smtputf8", Array("yes".utf8)) }
        if let returned { line("ret", Array(returned.rawValue.utf8)) }
        if let envelopeID { line("envid", envelopeID) }
        if let submitter { line("by", submitter.bytes) }
        line("from", sender?.bytes ?? [])
        for recipient in recipients {
            var value = [recipient.mark.rawValue, 0x20] + recipient.address.bytes
            // Behind a TAB, which no address has.
            if let notify = recipient.notify { value += Array("\tnotify=".utf8) + notify.bytes }
            if let original = recipient.originalRecipient { value += Array("\torcpt=".utf8) + original }
            line("to", value)
        }
        return text + [0x0a, 0x0a]
    }

    /// What a queue file begins with.
    public enum Reading: Equatable {
        /// The envelope, and the offset at which the message begins.
        case envelope(Envelope, messageOffset: Int)
        /// The empty line has not come yet: read more.
        case incomplete
        case malformed
    }

    /// No envelope is longer: the most recipients, each of the greatest length.
    public static let sizeLimit = 1 << 20

    public static func read(_ text: [UInt8]) -> Reading {
        var envelope = Envelope(received: 0, sender: nil, recipients: [])
        var seenSender = false
        var place = 0
        var isFirst = true
        while true {
            guard let end = text[place...].firstIndex(of: 0x0a) else {
                return text.count >= sizeLimit || !(isFirst || seenSender || text.count < 4096) ? .malformed : .incomplete
            }
            let line = text[place..<end]
            defer { place = end + 1 }
            if isFirst {
                guard Array(line) == firstLine else { return .malformed }
                isFirst = false
                continue
            }
            if line.isEmpty {
                guard seenSender, envelope.received > 0 else { return .malformed }
                return .envelope(envelope, messageOffset: end + 1)
            }
            guard let space = line.firstIndex(of: 0x20) else { return .malformed }
            let value = line[(space + 1)...]
            switch String(decoding: line[..<space], as: UTF8.self) {
            case "received":
                guard let time = microseconds(value) else { return .malformed }
                envelope.received = time
            case "client": envelope.client = Array(value)
            case "body": envelope.is8Bit = true
            case "smtputf8": envelope.isSMTPUTF8 = true
            case "ret": envelope.returned = Returned(rawValue: String(decoding: value, as: UTF8.self))
            case "envid": envelope.envelopeID = Array(value)
            case "by":
                guard let submitter = Address(Array(value)) else { return .malformed }
                envelope.submitter = submitter
            case "from":
                if !value.isEmpty {
                    guard let sender = Address(Array(value)) else { return .malformed }
                    envelope.sender = sender
                }
                seenSender = true
            case "to":
                guard var recipient = recipient(value) else { return .malformed }
                recipient.markOffset = space + 1
                envelope.recipients.append(recipient)
            default: break  // A later version's line, of no meaning to this one.
            }
        }
    }

    /// `W address`, then `notify=` and `orcpt=` behind TABs, where they are.
    private static func recipient(_ value: ArraySlice<UInt8>) -> Recipient? {
        guard value.count > 2, value.dropFirst().first == 0x20, let mark = Mark(rawValue: value.first!) else { return nil }
        let parts = value.dropFirst(2).split(separator: 0x09, omittingEmptySubsequences: false)
        guard let address = Address(Array(parts[0])) else { return nil }
        var recipient = Recipient(address, mark: mark)
        for part in parts.dropFirst() {
            guard let sign = part.firstIndex(of: 0x3d) else { return nil }
            let text = Array(part[(sign + 1)...])
            switch String(decoding: part[..<sign], as: UTF8.self) {
            case "notify":
                guard let notify = Notify(text) else { return nil }
                recipient.notify = notify
            case "orcpt": recipient.originalRecipient = text
            default: break
            }
        }
        return recipient
    }

    private static func microseconds(_ value: ArraySlice<UInt8>) -> Int? {
        let parts = value.split(separator: 0x2e)
        guard parts.count == 2, parts[1].count == 6, parts[0].count <= 12,
              let seconds = Int(String(decoding: parts[0], as: UTF8.self)), seconds >= 0,
              let rest = Int(String(decoding: parts[1], as: UTF8.self)), rest >= 0 else { return nil }
        return seconds * 1_000_000 + rest
    }
}
