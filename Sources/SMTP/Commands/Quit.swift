// QUIT (RFC 5321 4.1.1.10): whatever was not complete is dropped.

extension Dialogue {
    mutating func quit(_ argument: ArraySlice<UInt8>) {
        guard argument.isEmpty else { reply("501 5.5.4 QUIT takes no argument"); return }
        reply("221 2.0.0 ", hostname, " good-bye")
        end()
    }
}
