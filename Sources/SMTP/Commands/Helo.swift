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
        if submitter != nil { reply("250-DSN") }
        if client.mayAuthenticate, !isAuthenticated { reply("250-AUTH PLAIN LOGIN") }
        // RFC 9422
        reply("250-LIMITS ", Array("MAILMAX=\(limits.messagesPerSession) RCPTMAX=\(limits.recipients)".utf8))
        reply("250 HELP")
    }

    private mutating func greet(_ argument: ArraySlice<UInt8>, isExtended: Bool) -> Bool {
        guard !argument.isEmpty else {
            reply("501 5.5.4 Say your name: HELO or EHLO, then your host's name")
            return false
        }
        // The name proves nothing and is only recorded; but it must be one (RFC 5321 4.1.3).
        var parser = AddressParser(Array(argument))
        guard case .success(let name) = parser.domainOrLiteral(), parser.isAtEnd, name.count <= 255 else {
            reply("501 5.5.4 That is not a host's name")
            return false
        }
        reset()
        greeting = Greeting(name: Array(argument), isExtended: isExtended)
        return true
    }
}
