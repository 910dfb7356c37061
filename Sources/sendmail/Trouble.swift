// Why a message was not taken, for people and for programs.

struct Trouble: Error {
    /// Codes of sysexits(3).
    enum Code: Int32 {
        /// A call or an address among the arguments that makes no sense.
        case usage = 64
        /// The message makes no sense, or is too large.
        case data = 65
        /// A recipient does not exist.
        case noUser = 67
        /// The service has said no.
        case unavailable = 69
        /// Not now.
        case tryAgain = 75
        /// The sender may not be that.
        case notAllowed = 77
        /// The host's name is not known.
        case configuration = 78
    }

    let text: String
    let code: Code

    init(_ text: String, _ code: Code) {
        self.text = text
        self.code = code
    }

    /// A refusal in the service's own words.
    init(_ reply: Reply, about subject: [UInt8]? = nil) {
        let words = reply.text
        text = subject.map { "\(String(decoding: $0, as: UTF8.self)): \(words)" } ?? words
        code = switch (reply.isPermanent, reply.status) {
        case (false, _): .tryAgain
        case (true, let status) where status.hasPrefix("5.1."): .noUser
        case (true, let status) where status.hasPrefix("5.7."): .notAllowed
        case (true, let status) where status.hasPrefix("5.6.") || status == "5.3.4": .data
        default: .unavailable
        }
    }
}
