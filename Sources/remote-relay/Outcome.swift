// What came of a message for one recipient, and the line that says so: `K|Z|D STATUS ADDRESS HOST TEXT WORDS`, TAB-separated. Pure.

struct Outcome: Equatable {
    enum Kind: UInt8 {
        case taken = 0x4b  // K
        case tryAgain = 0x5a  // Z
        case failed = 0x44  // D
        /// Nothing was tried for this message in particular: every other one for the destination would fare the same.
        case destinationLater = 0x7a  // z
        case destinationNever = 0x64  // d

        var isFinal: Bool { self == .failed || self == .destinationNever }
    }

    let kind: Kind
    /// RFC 3463.
    let status: [UInt8]
    /// `mx.example.org [192.0.2.1]`, if it was one peer that the outcome came of.
    let host: [UInt8]
    let text: [UInt8]
    /// The peer passes on what a sender wants to hear (RFC 3461).
    var hasDSN = false

    /// Our own words.
    init(_ kind: Kind, _ status: String, _ text: String, host: [UInt8] = []) {
        self.kind = kind
        self.status = Array(status.utf8)
        self.host = host
        self.text = Array(text.utf8)
    }

    /// A peer's own words. Its status, if it gave one of the kind's class; else one made from its code.
    init(_ kind: Kind, _ reply: Reply, host: [UInt8]) {
        self.kind = kind
        let severity: UInt8 = switch kind {
        case .taken: 0x32
        case .tryAgain, .destinationLater: 0x34
        case .failed, .destinationNever: 0x35
        }
        let said = reply.status ?? Outcome.status(reply.code)
        status = [severity] + said.dropFirst()
        self.host = host
        text = reply.text
    }

    /// RFC 3463 has a detail for few codes that says what the code alone says; for the others, "other".
    private static func status(_ code: Int) -> [UInt8] {
        let detail = switch code {
        case 421: ".3.2"
        case 450: ".2.0"
        case 452: ".3.1"
        case 502, 504: ".5.1"
        case 501: ".5.2"
        case 503: ".5.0"
        case 530, 535: ".7.0"
        case 552: ".3.4"
        case 555: ".5.4"
        default: ".0.0"
        }
        return [0x30 + UInt8(code / 100)] + Array(detail.utf8)
    }

    private static let mostText = 500

    /// `address`: of the recipient.
    func line(_ address: [UInt8]) -> [UInt8] {
        var line: [UInt8] = [kind.rawValue]
        for field in [status, address, host, Outcome.printable(text), hasDSN ? Array("dsn".utf8) : []] {
            line.append(0x09)
            line += field
        }
        return line
    }

    /// No control characters, and of what is beyond ASCII only UTF-8.
    private static func printable(_ text: [UInt8]) -> [UInt8] {
        let isUTF8 = String(validating: text, as: UTF8.self) != nil
        var result = text.prefix(mostText).map { $0 < 0x20 || $0 == 0x7f ? 0x20 : $0 >= 0x80 && !isUTF8 ? 0x3f : $0 }
        // What the cut has left of a character goes.
        if text.count > mostText, isUTF8, text[mostText] & 0xc0 == 0x80 {
            while let last = result.last, last & 0xc0 == 0x80 { result.removeLast() }
            result.removeLast()
        }
        return result
    }
}
