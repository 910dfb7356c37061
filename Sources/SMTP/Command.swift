// The table of commands: one command, one function, one file, each given the state of the dialogue.

struct Command: Sendable {
    let verb: String
    /// RFC 2920 3.1: nothing may follow it in the same group.
    let endsGroup: Bool
    /// An address may be UTF-8 (RFC 6531); nothing else may.
    var takesAddress = false
    let function: @Sendable (inout Dialogue, ArraySlice<UInt8>) -> Void

    static let all: [Command] = [
        Command(verb: "HELO", endsGroup: true) { $0.helo($1) },
        Command(verb: "EHLO", endsGroup: true) { $0.ehlo($1) },
        Command(verb: "MAIL", endsGroup: false, takesAddress: true) { $0.mail($1) },
        Command(verb: "RCPT", endsGroup: false, takesAddress: true) { $0.rcpt($1) },
        Command(verb: "DATA", endsGroup: true) { $0.data($1) },
        Command(verb: "BDAT", endsGroup: false) { $0.bdat($1) },
        Command(verb: "RSET", endsGroup: false) { $0.rset($1) },
        Command(verb: "NOOP", endsGroup: false) { $0.noop($1) },
        Command(verb: "HELP", endsGroup: false) { $0.help($1) },
        Command(verb: "QUIT", endsGroup: false) { $0.quit($1) },
        Command(verb: "VRFY", endsGroup: false) { dialogue, _ in dialogue.notImplemented() },
        Command(verb: "EXPN", endsGroup: false) { dialogue, _ in dialogue.notImplemented() },
        Command(verb: "STARTTLS", endsGroup: false) { dialogue, _ in dialogue.notImplemented() },
        Command(verb: "AUTH", endsGroup: true) { $0.auth($1) },
    ]

    /// `verb` in capitals.
    static func named(_ verb: [UInt8]) -> Command? { all.first { verb.elementsEqual($0.verb.utf8) } }
}

extension Dialogue {
    /// VRFY and EXPN would tell strangers who lives here; TLS on this server begins before the first octet, not in the
    /// middle of a session, where what was sent in the clear could be mistaken for what was not.
    mutating func notImplemented() { reply("502 5.5.1 This server does not offer that command") }
}
