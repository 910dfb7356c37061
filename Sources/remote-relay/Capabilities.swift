// What a peer can do, as its answer to EHLO says (RFC 5321 4.1.1.1). Pure.
import Mail

struct Capabilities: Equatable {
    var hasPipelining = false
    var has8BitMIME = false
    var hasSMTPUTF8 = false
    var hasDSN = false
    var hasStartTLS = false
    var hasSize = false
    /// RFC 1870: the largest message it takes; nil: it says no limit.
    var mostOctets: Int?
    /// The names of SASL mechanisms.
    var mechanisms: [String] = []
    /// RFC 9422: messages on one connection, recipients of one message.
    var mostMessages: Int?
    var mostRecipients: Int?

    /// One that knows HELO only.
    init() {}

    init(_ reply: Reply) {
        for line in reply.lines.dropFirst() {
            // AUTH= is how old servers write it, for still older clients.
            let words = line.split { $0 == 0x20 || $0 == 0x3d && line.prefix(4).map(\.uppercased) == Array("AUTH".utf8) }
            guard let keyword = words.first else { continue }
            let parameters = words.dropFirst().map { String(decoding: $0.map(\.uppercased), as: UTF8.self) }
            switch String(decoding: keyword.map(\.uppercased), as: UTF8.self) {
            case "PIPELINING": hasPipelining = true
            case "8BITMIME": has8BitMIME = true
            case "SMTPUTF8": hasSMTPUTF8 = true
            case "DSN": hasDSN = true
            case "STARTTLS": hasStartTLS = true
            case "SIZE":
                hasSize = true
                mostOctets = parameters.first.flatMap { Int($0) }.flatMap { $0 > 0 ? $0 : nil }
            case "AUTH": mechanisms += parameters
            case "LIMITS": takeLimits(line)
            default: break
            }
        }
    }

    private mutating func takeLimits(_ line: [UInt8]) {
        for word in line.split(separator: 0x20).dropFirst() {
            let parts = word.split(separator: 0x3d).map { String(decoding: $0.map(\.uppercased), as: UTF8.self) }
            guard parts.count == 2, let number = Int(parts[1]), number > 0 else { continue }
            switch parts[0] {
            case "MAILMAX": mostMessages = number
            case "RCPTMAX": mostRecipients = number
            default: break
            }
        }
    }
}
