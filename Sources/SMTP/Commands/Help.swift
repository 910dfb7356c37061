// HELP (RFC 5321 4.1.1.8).

extension Dialogue {
    mutating func help(_ argument: ArraySlice<UInt8>) {
        if submitter == nil { reply("214-2.0.0 I know HELO EHLO MAIL RCPT DATA BDAT RSET NOOP HELP QUIT") }
        else { reply("214-2.0.0 I know HELO EHLO AUTH MAIL RCPT DATA BDAT RSET NOOP HELP QUIT") }
        reply("214 2.0.0 and do as RFC 5321 says")
    }
}
