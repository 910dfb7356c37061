// RSET (RFC 5321 4.1.1.5): the transaction under way is forgotten, the greeting is not.

extension Dialogue {
    mutating func rset(_ argument: ArraySlice<UInt8>) {
        guard argument.isEmpty else { reply("501 5.5.4 RSET takes no argument"); return }
        reset()
        reply("250 2.0.0 Forgotten")
    }
}
