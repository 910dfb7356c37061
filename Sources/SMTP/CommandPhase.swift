// From octets to commands: lines found, checked and obeyed.
import Mail

extension Dialogue {
    /// One command from the input; false when no whole line is there.
    mutating func takeCommand() -> Bool {
        let bytes = input.contents
        let end = LineEnd.find(in: bytes)
        if end == bytes.count || (bytes[end] == 0x0d && end + 1 == bytes.count) {
            if bytes.count >= limits.commandLength {
                mode = .longLine
                reply("500 5.5.2 Line too long")
                return true
            }
            if input.hasNoRoom { input.grow(to: limits.commandLength + 2) }
            return false
        }
        let isCRLF = bytes[end] == 0x0d && bytes[end + 1] == 0x0a
        guard isCRLF || client.isByHand && bytes[end] == 0x0a else {
            reply("500 5.5.2 A line ends with CR LF, nothing else (with netcat: nc -C); good-bye")
            endDraining()
            return true
        }
        let line = [UInt8](bytes[..<end])
        input.drop(end + (isCRLF ? 2 : 1))
        if end + 2 > limits.commandLength { reply("500 5.5.2 Line too long") } else { obey(line) }
        return true
    }

    /// Up to and including the next LF.
    mutating func skipLine() -> Bool {
        guard !input.isEmpty else { return false }
        let bytes = input.contents
        let end = bytes.firstIndex(of: 0x0a)
        input.drop(end.map { $0 + 1 } ?? bytes.count)
        if end != nil { mode = .commands }
        return true
    }

    private mutating func obey(_ line: [UInt8]) {
        let verb = line.prefix { $0 != 0x20 && $0 != 0x09 }.map(\.uppercased)
        let command = Command.named(verb)
        // RFC 2920 3.1: what must not be followed in a group is refused with all that follows it. Without EHLO nothing may be.
        if !client.isByHand, !input.isEmpty, command?.endsGroup == true || greeting?.isExtended == false && command?.verb != "QUIT" {
            reply("554 5.5.0 You did not wait for the reply; good-bye")
            endDraining()
            return
        }
        guard let command else {
            reply("500 5.5.2 I do not know that command; HELP names those I do")
            return
        }
        var argument = line[verb.count...].drop { $0 == 0x20 || $0 == 0x09 }
        while let last = argument.last, last == 0x20 || last == 0x09 { argument.removeLast() }
        if argument.contains(where: { $0 < 0x20 || $0 == 0x7f }) {
            reply("500 5.5.2 Control characters have no place in a command")
            return
        }
        if !command.takesAddress, argument.contains(where: { $0 >= 0x80 }) {
            reply("500 5.5.2 Only ASCII outside of addresses")
            return
        }
        command.function(&self, argument)
    }
}
