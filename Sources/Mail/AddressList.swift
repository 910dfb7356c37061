// Addresses in header fields (RFC 5322 3.4, with the UTF-8 of RFC 6532): mailboxes and groups, comments and folding. Strict where it
// matters: a field that cannot be read to its end has no addresses, and whoever asks must not guess.

public enum AddressList {
    /// Every address of a field's body, such as `Anna <anna@example.org>, "B, C" <b@example.org>`, folded or not; empty groups
    /// have none. nil: the field is malformed.
    public static func parse(_ body: [UInt8]) -> [Address]? {
        guard let tokens = tokens(body) else { return nil }
        var result: [Address] = []
        var isInGroup = false
        for var element in tokens.split(afterEach: { $0 == .sign(0x2c) || $0 == .sign(0x3b) || $0 == .sign(0x3a) }) {
            // A group: its name ends with a colon, its last member with a semicolon.
            switch element.last {
            case .sign(0x3a):
                if isInGroup { return nil }
                guard element.count > 1, element.dropLast().allSatisfy(\.isWord) else { return nil }
                isInGroup = true
                continue
            case .sign(0x3b):
                if !isInGroup { return nil }
                isInGroup = false
                element.removeLast()
            case .sign(0x2c): element.removeLast()
            default: break
            }
            // Empty elements are obsolete syntax, and harmless.
            if element.isEmpty { continue }
            guard let address = mailbox(element) else { return nil }
            result.append(address)
        }
        return isInGroup ? nil : result
    }

    private enum Token: Equatable {
        /// Letters, digits and the other signs of an atom, without dots.
        case atom([UInt8])
        /// What stands in quotes, the quotes and their escapes undone.
        case quoted([UInt8])
        case literal([UInt8])
        /// `<>@,:;.`
        case sign(UInt8)

        var isWord: Bool {
            switch self {
            case .atom, .quoted, .sign(0x2e): true
            default: false
            }
        }
    }

    /// A mailbox: `words <address>`, or the address alone. Routes, which nobody writes any more, are not read.
    private static func mailbox(_ tokens: [Token]) -> Address? {
        guard let open = tokens.firstIndex(of: .sign(0x3c)) else { return address(tokens[...]) }
        guard tokens.last == .sign(0x3e), tokens[..<open].allSatisfy(\.isWord) else { return nil }
        let inner = tokens[(open + 1)..<(tokens.count - 1)]
        return address(inner)
    }

    /// local-part "@" domain, with space between its tokens forgiven (RFC 5322 4.4).
    private static func address(_ tokens: ArraySlice<Token>) -> Address? {
        guard let at = tokens.firstIndex(of: .sign(0x40)) else { return nil }
        guard let local = dotted(tokens[..<at]) else { return nil }
        let rest = tokens[(at + 1)...]
        var domain: [UInt8]?
        if rest.count == 1, case .literal(let text)? = rest.first { domain = text } else { domain = dotted(rest, quotes: false) }
        // The one grammar for what an address may be.
        guard let domain, !local.isEmpty, let parsed = Address(Address(localPart: local, domain: domain).bytes) else { return nil }
        return parsed
    }

    /// Words with dots between them, and nothing else.
    private static func dotted(_ tokens: ArraySlice<Token>, quotes: Bool = true) -> [UInt8]? {
        var text: [UInt8] = []
        var wantsWord = true
        for token in tokens {
            switch token {
            case .atom(let word) where wantsWord: text += word
            case .quoted(let word) where wantsWord && quotes: text += word
            case .sign(0x2e) where !wantsWord: text.append(0x2e)
            default: return nil
            }
            wantsWord.toggle()
        }
        return wantsWord ? nil : text
    }

    /// nil: a quote, comment or bracket does not end, or an octet has no place there.
    private static func tokens(_ body: [UInt8]) -> [Token]? {
        var tokens: [Token] = []
        var index = 0
        while index < body.count {
            let byte = body[index]
            index += 1
            switch byte {
            case 0x20, 0x09, 0x0a, 0x0d: continue
            case 0x28:
                guard let end = endOfComment(body, from: index) else { return nil }
                index = end
            case 0x22:
                guard let (text, end) = enclosed(body, from: index, until: 0x22) else { return nil }
                tokens.append(.quoted(text))
                index = end
            case 0x5b:
                guard let (text, end) = enclosed(body, from: index, until: 0x5d) else { return nil }
                tokens.append(.literal([0x5b] + text + [0x5d]))
                index = end
            case 0x3c, 0x3e, 0x40, 0x2c, 0x3a, 0x3b, 0x2e: tokens.append(.sign(byte))
            default:
                guard byte.isAtext else { return nil }
                let start = index - 1
                while index < body.count, body[index].isAtext { index += 1 }
                tokens.append(.atom(Array(body[start..<index])))
            }
        }
        return tokens
    }

    /// Where the comment ends whose text begins at `start`: after its closing parenthesis. Comments nest. nil: it does not end.
    public static func endOfComment(_ body: [UInt8], from start: Int) -> Int? {
        var depth = 1
        var index = start
        while index < body.count {
            switch body[index] {
            case 0x5c: index += 1
            case 0x28: depth += 1
            case 0x29: depth -= 1
            case 0: return nil
            default: break
            }
            index += 1
            if depth == 0 { return index }
        }
        return nil
    }

    private static func enclosed(_ body: [UInt8], from start: Int, until end: UInt8) -> ([UInt8], Int)? {
        var text: [UInt8] = []
        var index = start
        while index < body.count {
            let byte = body[index]
            switch byte {
            case end: return (text, index + 1)
            case 0x5c:
                guard index + 1 < body.count else { return nil }
                index += 1
                text.append(body[index])
            case 0x0a, 0x0d: break  // Folding.
            case 0: return nil
            default: text.append(byte)
            }
            index += 1
        }
        return nil
    }
}

extension Array {
    /// The pieces, each with the separator that ended it.
    fileprivate func split(afterEach isSeparator: (Element) -> Bool) -> [[Element]] {
        var pieces: [[Element]] = []
        var piece: [Element] = []
        for element in self {
            piece.append(element)
            if isSeparator(element) {
                pieces.append(piece)
                piece = []
            }
        }
        if !piece.isEmpty { pieces.append(piece) }
        return pieces
    }
}
