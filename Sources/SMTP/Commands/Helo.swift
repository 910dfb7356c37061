// HELO and EHLO (RFC 5321 4.1.1.1): the client says who it is; a transaction under way is forgotten.
import Mail

extension Dialogue {
    mutating func helo(_ argument: ArraySlice<UInt8>) {
        guard greet(argument, isExtended: false) else { return }
        reply("250 ", hostname)
    }

    mutating func ehlo(_ argument: ArraySlice<UInt8>) {
        guard greet(argument, isExtended: true) else { return }
        reply("250-", hostname)
        reply("250-PIPELINING")
        reply("250-SIZE ", Array(String(limits.messageSize).utf8))
        reply("250-8BITMIME")
        reply("250-SMTPUTF8")
        reply("250-CHUNKING")
        reply("250-ENHANCEDSTATUSCODES")
        // RFC 9422
        reply("250-LIMITS ", Array("MAILMAX=\(limits.messagesPerSession) RCPTMAX=\(limits.recipients)".utf8))
        reply("250 HELP")
    }

    private mutating func greet(_ argument: ArraySlice<UInt8>, isExtended: Bool) -> Bool {
        guard !argument.isEmpty else {
            reply("501 5.5.4 Say your name: HELO or EHLO, then your host's name")
            return false
        }
        // The name proves nothing and is only recorded; it must merely be fit to stand in a Received line.
        guard argument.count <= 255, argument.allSatisfy({ 0x21...0x7e ~= $0 && !Dialogue.breaksComments($0) }) else {
            reply("501 5.5.4 That is not a host's name")
            return false
        }
        reset()
        greeting = Greeting(name: Array(argument), isExtended: isExtended)
        return true
    }

    /// Octets that would end or begin something else in a header line.
    private static func breaksComments(_ byte: UInt8) -> Bool {
        byte == 0x28 || byte == 0x29 || byte == 0x22 || byte == 0x3b || byte == 0x2c || byte == 0x3c || byte == 0x3e || byte == 0x5c || byte == 0x40
    }
}
