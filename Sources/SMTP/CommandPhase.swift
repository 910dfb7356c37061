// From octets to commands: lines found, checked and obeyed.
import Mail

extension Dialogue {
    /// One command from the input; false when no whole line is there.
    mutating func takeCommand() -> Bool {
        let bytes = input.contents
        let end = LineEnd.find(in: bytes)
        if end + 2 > limits.commandLength {
            // However it came, whole or in pieces: answered now, then passed over.
            mode = .longLine
            let isChunk = bytes.prefix(4).map(\.uppercased) == Array("BDAT".utf8)
            reply("500 5.5.2 Line too long")
            if isChunk { endDraining() }
            return true
        }
        guard let octets = lineEnd(at: end) else {
            if mode.isOver { return true }
            if input.hasNoRoom { input.grow(to: limits.commandLength + 2) }
            return false
        }
        let line = [UInt8](bytes[..<end])
        input.drop(end + octets)
        if case .auth(let exchange) = mode { answer(exchange, line) } else { obey(line) }
        return true
    }

    /// The rest of a line that was too long; its end is one as everywhere.
    mutating func skipLine() -> Bool {
        let end = LineEnd.find(in: input.contents)
        input.drop(end)
        guard let octets = lineEnd(at: 0) else { return mode.isOver }
        input.drop(octets)
        mode = .commands
        return true
    }

    /// The octets of the line end at this place; nil if it has not come yet, or is none: then the session is over.
    private mutating func lineEnd(at end: Int) -> Int? {
        let bytes = input.contents
        guard end < bytes.count else { return nil }
        if bytes[end] == 0x0a, client.isByHand { return 1 }
        if bytes[end] == 0x0d {
            guard end + 1 < bytes.count else { return nil }
            if bytes[end + 1] == 0x0a { return 2 }
        }
        reply("500 5.5.2 A line ends with CR LF, nothing else (with netcat: nc -C); good-bye")
        endDraining()
        return nil
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
            if command.verb == "BDAT" { endDraining() }
            return
        }
        if !command.takesAddress, argument.contains(where: { $0 >= 0x80 }) {
            reply("500 5.5.2 Only ASCII outside of addresses")
            if command.verb == "BDAT" { endDraining() }
            return
        }
        command.function(&self, argument)
    }
}
