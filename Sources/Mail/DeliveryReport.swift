// Delivery status notifications: multipart/report after RFC 6522 and RFC 3464, for failure, delay and success. Pure: facts in, a
// message out.

/// What happened to one recipient, for a report and for logs.
public struct Fate: Equatable, Sendable {
    public let recipient: Envelope.Recipient
    /// RFC 3463: `5.1.1`.
    public let status: [UInt8]
    /// For people; the remote side's own words, where it said some.
    public let text: [UInt8]
    /// Who said it, such as `mx.example.org [192.0.2.1]`; empty: this host.
    public let host: [UInt8]

    public init(recipient: Envelope.Recipient, status: [UInt8], text: [UInt8], host: [UInt8] = []) {
        self.recipient = recipient
        self.status = status
        self.text = text
        self.host = host
    }
}

public struct DeliveryReport {
    /// RFC 3464 2.3.3. A message that went on to a host that knows no DSN was relayed, and that is all that can be said.
    public enum Action: String, Sendable { case failed, delayed, delivered, relayed }

    public let action: Action
    /// The host that reports: its name stands in the headers.
    public let hostname: [UInt8]
    /// Whom the report goes to: the message's sender, or postmaster when a report itself has failed.
    public let addressee: Address
    public let fates: [Fate]
    /// RFC 3461 4.4, in xtext as it came.
    public let envelopeID: [UInt8]?
    /// Seconds since 1970.
    public let arrival: Int
    public let now: Int
    /// When tries end; seconds since 1970.
    public let deadline: Int
    /// Makes Message-ID and boundary unique.
    public let unique: String
    /// A bounce of a bounce says so.
    public let isDouble: Bool

    public init(
        _ action: Action, hostname: [UInt8], addressee: Address, fates: [Fate], envelopeID: [UInt8]? = nil, arrival: Int, now: Int,
        deadline: Int = 0, unique: String, isDouble: Bool = false
    ) {
        self.action = action
        self.hostname = hostname
        self.addressee = addressee
        self.fates = fates
        self.envelopeID = envelopeID
        self.arrival = arrival
        self.now = now
        self.deadline = deadline
        self.unique = unique
        self.isDouble = isDouble
    }

    /// What of the message is returned with the report.
    public enum Returning {
        case headers([UInt8])
        case whole([UInt8])
    }

    /// The message, LF line ends.
    public func message(_ returning: Returning) -> [UInt8] {
        let (returned, isWhole) = switch returning {
        case .headers(let octets): (octets, false)
        case .whole(let octets): (octets, true)
        }
        let host = String(decoding: hostname, as: UTF8.self)
        let boundary = "=_\(unique)"
        let is8Bit = !returned.allSatisfy { $0 < 0x80 }
        // RFC 6533: the global forms are for UTF-8; octets of some other kind stay what they were.
        let isUTF8 = is8Bit && !isWhole && String(validating: returned, as: UTF8.self) != nil || fates.contains { !$0.recipient.address.isASCII }
        let encoding = is8Bit || isUTF8 ? "\nContent-Transfer-Encoding: 8bit" : ""
        var text = """
            Date: \(MailDate.text(seconds: now))
            From: Mail Delivery System <postmaster@\(host)>
            To: \(String(decoding: addressee.bytes, as: UTF8.self))
            Subject: \(subject)
            Message-ID: <\(unique)@\(host)>
            Auto-Submitted: auto-replied
            MIME-Version: 1.0
            Content-Type: multipart/report; report-type=delivery-status;
             boundary="\(boundary)"
            Content-Transfer-Encoding: 8bit

            This is a message in several parts, for programs that know MIME.

            --\(boundary)
            Content-Type: text/plain; charset=utf-8
            Content-Disposition: inline
            Content-Transfer-Encoding: 8bit

            This is the mail system at \(host).

            \(sentences(isWhole))


            """.utf8Array
        for fate in fates {
            text += "  <".utf8Array + fate.recipient.address.bytes + ">".utf8Array
            if !fate.text.isEmpty {
                text += ":\n    ".utf8Array
                if !fate.host.isEmpty { text += DeliveryReport.oneLine(fate.host) + " said: ".utf8Array }
                text += DeliveryReport.oneLine(fate.text)
            }
            text += "\n\n".utf8Array
        }
        text += """
            --\(boundary)
            Content-Type: message/\(isUTF8 ? "global-" : "")delivery-status\(encoding)


            """.utf8Array
        if let envelopeID, let id = XText.decode(envelopeID) { text += "Original-Envelope-Id: ".utf8Array + DeliveryReport.oneLine(id) + [0x0a] }
        text += "Reporting-MTA: dns; \(host)\nArrival-Date: \(MailDate.text(seconds: arrival))\n".utf8Array
        for fate in fates { text += fields(fate) }
        let kind = isWhole ? isUTF8 ? "message/global" : "message/rfc822" : isUTF8 ? "message/global-headers" : "text/rfc822-headers"
        text += "\n--\(boundary)\nContent-Type: \(kind)\(encoding)\n\n".utf8Array
        text += returned
        if returned.last != 0x0a { text.append(0x0a) }
        return text + "\n--\(boundary)--\n".utf8Array
    }

    private var subject: String {
        switch action {
        case .failed: isDouble ? "Undeliverable bounce" : "Undelivered mail returned to sender"
        case .delayed: "Delayed mail (still being tried)"
        case .delivered, .relayed: "Delivered mail, as you asked to hear"
        }
    }

    private func sentences(_ isWhole: Bool) -> String {
        let attached = isWhole ? "the message is attached" : "its headers are attached"
        return switch action {
        case .failed where isDouble:
            "A notice of failure could not be delivered to the sender of the original message.\nIt will not be tried again; \(attached)."
        case .failed: "Your message could not be delivered to the following addresses.\nIt will not be tried again; \(attached)."
        case .delayed:
            "Your message has not been delivered to the following addresses yet.\nYou need do nothing: it will be tried until \(MailDate.text(seconds: deadline))."
        case .delivered: "Your message was delivered to the following addresses."
        case .relayed: "Your message was handed to the hosts of the following addresses, which will not report further."
        }
    }

    /// RFC 3464 2.3, one group of fields for each recipient.
    private func fields(_ fate: Fate) -> [UInt8] {
        let address = fate.recipient.address
        var text: [UInt8] = [0x0a]
        if let original = fate.recipient.originalRecipient, let semicolon = original.firstIndex(of: 0x3b), let decoded = XText.decode(Array(original[(semicolon + 1)...])) {
            text += "Original-Recipient: ".utf8Array + DeliveryReport.oneLine(Array(original[...semicolon]) + [0x20] + decoded) + [0x0a]
        }
        text += "Final-Recipient: \(address.isASCII ? "rfc822" : "utf-8"); ".utf8Array + address.bytes
        text += "\nAction: \(action.rawValue)\nStatus: ".utf8Array + fate.status + [0x0a]
        // The name alone: RFC 3464 2.3.5.
        if let name = fate.host.split(separator: 0x20).first { text += "Remote-MTA: dns; ".utf8Array + DeliveryReport.oneLine(Array(name)) + [0x0a] }
        if !fate.text.isEmpty { text += "Diagnostic-Code: \(fate.host.isEmpty ? "x-semail" : "smtp"); ".utf8Array + DeliveryReport.oneLine(fate.text) + [0x0a] }
        if action == .delayed { text += "Will-Retry-Until: \(MailDate.text(seconds: deadline))\n".utf8Array }
        return text
    }

    /// Foreign words may not add lines of their own.
    private static func oneLine(_ text: [UInt8]) -> [UInt8] { text.map { $0 < 0x20 || $0 == 0x7f ? 0x20 : $0 } }
}

extension String {
    var utf8Array: [UInt8] { Array(utf8) }
}
