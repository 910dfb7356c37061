// Delivery status notifications: multipart/report after RFC 3462 and RFC 3464. Pure: facts in, a message out.

/// What happened to one recipient, for a bounce and for logs.
public struct Failure: Equatable, Sendable {
    public let recipient: Address
    /// RFC 3463: `5.1.1`; always of class 5 in a bounce.
    public let status: [UInt8]
    /// For people; may be the remote side's own words.
    public let text: [UInt8]

    public init(recipient: Address, status: [UInt8], text: [UInt8]) {
        self.recipient = recipient
        self.status = status
        self.text = text
    }
}

public struct Bounce {
    /// The host that gives up: its name stands in the headers.
    public let hostname: [UInt8]
    /// Whom the bounce goes to: the message's sender, or postmaster when a bounce itself has bounced.
    public let addressee: Address
    public let failures: [Failure]
    /// Seconds since 1970.
    public let arrival: Int
    public let now: Int
    /// Makes Message-ID and boundary unique.
    public let unique: String
    /// A bounce of a bounce says so.
    public let isDouble: Bool

    public init(hostname: [UInt8], addressee: Address, failures: [Failure], arrival: Int, now: Int, unique: String, isDouble: Bool) {
        self.hostname = hostname
        self.addressee = addressee
        self.failures = failures
        self.arrival = arrival
        self.now = now
        self.unique = unique
        self.isDouble = isDouble
    }

    /// The message, LF line ends. `headers` are those of the message that failed: they are returned, its body is not.
    public func message(returning headers: [UInt8]) -> [UInt8] {
        let host = String(decoding: hostname, as: UTF8.self)
        let boundary = "=_\(unique)"
        let is8Bit = !headers.allSatisfy { $0 < 0x80 }
        // RFC 6533: the global forms are for UTF-8; octets of some other kind stay what they were.
        let isUTF8 = is8Bit && String(validating: headers, as: UTF8.self) != nil || failures.contains { !$0.recipient.isASCII }
        let encoding = is8Bit || isUTF8 ? "\nContent-Transfer-Encoding: 8bit" : ""
        var text = """
            Date: \(MailDate.text(seconds: now))
            From: Mail Delivery System <postmaster@\(host)>
            To: \(String(decoding: addressee.bytes, as: UTF8.self))
            Subject: \(isDouble ? "Undeliverable bounce" : "Undelivered mail returned to sender")
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

            \(isDouble
                ? "A notice of failure could not be delivered to the sender of the original message."
                : "Your message could not be delivered to the following addresses.")
            It will not be tried again; its headers are attached.


            """.utf8Array
        for failure in failures {
            text += "  <".utf8Array + failure.recipient.bytes + ">:\n    ".utf8Array + Bounce.oneLine(failure.text) + "\n\n".utf8Array
        }
        text += """
            --\(boundary)
            Content-Type: message/\(isUTF8 ? "global-" : "")delivery-status\(encoding)

            Reporting-MTA: dns; \(host)
            Arrival-Date: \(MailDate.text(seconds: arrival))

            """.utf8Array
        for failure in failures {
            text += """

                Final-Recipient: \(failure.recipient.isASCII ? "rfc822" : "utf-8"); \(String(decoding: failure.recipient.bytes, as: UTF8.self))
                Action: failed
                Status: \(String(decoding: failure.status, as: UTF8.self))
                Diagnostic-Code: x-semail;
                """.utf8Array + [0x20] + Bounce.oneLine(failure.text) + [0x0a]
        }
        text += "\n--\(boundary)\nContent-Type: \(isUTF8 ? "message/global-headers" : "text/rfc822-headers")\(encoding)\n\n".utf8Array
        text += headers
        if headers.last != 0x0a { text.append(0x0a) }
        return text + "\n--\(boundary)--\n".utf8Array
    }

    /// Foreign words may not add lines of their own.
    private static func oneLine(_ text: [UInt8]) -> [UInt8] { text.map { $0 < 0x20 || $0 == 0x7f ? 0x20 : $0 } }
}

extension String {
    var utf8Array: [UInt8] { Array(utf8) }
}
