// Which header fields a signature covers, and for which domain a message is signed. Pure.
import Mail

/// RFC 6376 5.4.1 says that the fields which make up a message's core should be signed, and 8.15 what may be added if they are not
/// named once more than they occur.
public enum SignedFields {
    /// Named once more than they occur, also where they do not: whoever passes the message on cannot add another, and these are the
    /// fields that say whose the message is, what it says, how its body is to be read, and where answers go. A reader that is shown
    /// the second Subject, or a Content-Type that turns the signed body into something else, would be deceived under a good
    /// signature. Nobody adds them on the way to a message that was submitted here, which has its Date and Message-ID.
    static let sealed: [StaticString] = [
        "From", "Reply-To", "Subject", "Date", "Message-ID", "To", "Cc", "In-Reply-To", "References",
        "MIME-Version", "Content-Type", "Content-Transfer-Encoding",
    ]

    /// Named as often as they occur. Lists and forwarders add these for good reasons (RFC 6377 3.3, RFC 5322 3.6.6), mostly at the
    /// top, where that does no harm to those that were there. RFC 8058 4 wants both fields of List-Unsubscribe signed.
    static let covered: [StaticString] = [
        "Sender", "Resent-Date", "Resent-From", "Resent-Sender", "Resent-To", "Resent-Cc", "Resent-Message-ID",
        "List-Id", "List-Help", "List-Unsubscribe", "List-Unsubscribe-Post", "List-Subscribe", "List-Post", "List-Owner", "List-Archive",
        "Content-ID", "Content-Description", "Content-Disposition", "Content-Language", "Auto-Submitted",
    ]

    // Not signed, as they change on the way: Return-Path, Received, Comments, Keywords, and what filters add
    // (RFC 6376 5.4.1).

    /// More fields than this no honest message has.
    static let most = 200

    /// One name of the tag h=: the field it stands for, or none, which must stay so.
    struct Name {
        let name: StaticString
        let field: Header.Field?
    }

    /// In the order of h=.
    static func choose(from header: Header) throws(NotSigned) -> [Name] {
        var names: [Name] = []
        for (list, isSealed) in [(sealed, true), (covered, false)] {
            for name in list {
                let small = UnsafeBufferPointer(start: name.utf8Start, count: name.utf8CodeUnitCount).map(\.lowercased)
                for field in header.fields(named: small) { names.append(Name(name: name, field: field)) }
                if isSealed { names.append(Name(name: name, field: nil)) }
                if names.count > most + sealed.count { throw NotSigned("the header repeats fields too often") }
            }
        }
        return names
    }

    /// The domain in whose name the message speaks, in small letters: that of all addresses of its one From field. Another number of
    /// From fields is no message (RFC 5322 3.6), and with authors in several domains none of them could answer for the others.
    public static func domain(of header: Header) throws(NotSigned) -> [UInt8] {
        let from = header.fields(named: Array("from".utf8))
        guard from.count == 1 else { throw NotSigned(from.isEmpty ? "there is no From field" : "there are several From fields") }
        guard let addresses = AddressList.parse(header.body(of: from[0])) else { throw NotSigned("the From field is malformed") }
        let domains = addresses.map { $0.domain.map(\.lowercased) }
        guard let domain = domains.first else { throw NotSigned("the From field has no address") }
        guard domains.allSatisfy({ $0 == domain }) else { throw NotSigned("the From field has addresses in several domains") }
        if addresses[0].hasLiteralDomain { throw NotSigned("the From field has an address literal for a domain") }
        return domain
    }
}
