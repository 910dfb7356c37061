// Mail addresses as RFC 5321 4.1.2 and RFC 6531 3.3 write them. Pure: octets in, a value or a reason out.

/// `local-part@domain`, the local part without its quoting.
public struct Address: Equatable, Sendable {
    /// At most 64 octets.
    public let localPart: [UInt8]
    /// As it was written, or an address literal with its brackets; empty for a bare `postmaster`.
    public let domain: [UInt8]

    public init(localPart: [UInt8], domain: [UInt8]) {
        self.localPart = localPart
        self.domain = domain
    }

    /// Parses `id@domain` as a whole; nil if it is anything else.
    public init?(_ text: [UInt8]) {
        var parser = AddressParser(text)
        guard case .success(let address) = parser.mailbox(), parser.isAtEnd else { return nil }
        self = address
    }

    public init?(_ text: String) { self.init(Array(text.utf8)) }

    /// As it stands in envelopes and headers: quoted where it must be.
    public var bytes: [UInt8] {
        let local = Address.needsQuotes(localPart) ? Address.quoted(localPart) : localPart
        return domain.isEmpty ? local : local + [0x40] + domain
    }

    /// The one spelling under which a mailbox is kept: ASCII letters small, quoting undone.
    public var key: [UInt8] { (domain.isEmpty ? localPart : localPart + [0x40] + domain).map(\.lowercased) }

    public var isASCII: Bool { localPart.allSatisfy { $0 < 0x80 } && domain.allSatisfy { $0 < 0x80 } }

    /// `user@[192.0.2.1]`
    public var hasLiteralDomain: Bool { domain.first == 0x5b }

    public func with(domain: [UInt8]) -> Address { Address(localPart: localPart, domain: domain) }

    /// Whether the local part is this word, in any case.
    public func isNamed(_ word: String) -> Bool { localPart.map(\.lowercased) == Array(word.utf8) }

    private static func needsQuotes(_ local: [UInt8]) -> Bool {
        local.isEmpty || local.first == 0x2e || local.last == 0x2e
            || zip(local, local.dropFirst()).contains { $0 == 0x2e && $1 == 0x2e }
            || !local.allSatisfy { $0.isAtext || $0 == 0x2e }
    }

    private static func quoted(_ local: [UInt8]) -> [UInt8] {
        [0x22] + local.flatMap { $0 == 0x22 || $0 == 0x5c ? [0x5c, $0] : [$0] } + [0x22]
    }
}

extension UInt8 {
    /// RFC 5322 3.2.3 atext, with the octets of UTF-8 as RFC 6531 adds them.
    var isAtext: Bool {
        switch self {
        case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x80...0xff: true
        case 0x21, 0x23...0x27, 0x2a, 0x2b, 0x2d, 0x2f, 0x3d, 0x3f, 0x5e...0x60, 0x7b...0x7e: true
        default: false
        }
    }

    var isDigit: Bool { 0x30...0x39 ~= self }
    var isLetter: Bool { 0x41...0x5a ~= self || 0x61...0x7a ~= self }

    /// ASCII only: the rest of the octets mean nothing one by one.
    public var lowercased: UInt8 { 0x41...0x5a ~= self ? self + 32 : self }
    public var uppercased: UInt8 { 0x61...0x7a ~= self ? self - 32 : self }
}

/// Why an address was refused.
public enum AddressFault: Error, Equatable {
    case syntax
    /// RFC 5321 4.5.3.1: local part over 64, domain over 255, path over 256 octets.
    case tooLong
    /// Not UTF-8 at all.
    case encoding
}

/// Reads paths and mailboxes from the front of a text.
public struct AddressParser {
    private let text: [UInt8]
    private var place = 0

    public init(_ text: [UInt8]) { self.text = text }

    public var isAtEnd: Bool { place == text.count }
    /// What has not been read.
    public var rest: ArraySlice<UInt8> { text[place...] }

    private var next: UInt8? { place < text.count ? text[place] : nil }

    private mutating func take(_ byte: UInt8) -> Bool {
        guard next == byte else { return false }
        place += 1
        return true
    }

    private mutating func takeWhile(_ condition: (UInt8) -> Bool) -> ArraySlice<UInt8> {
        let start = place
        while let byte = next, condition(byte) { place += 1 }
        return text[start..<place]
    }

    /// Reverse-path: `<>` is nil, the null sender. Angle brackets may be missing, as Postfix tolerates.
    public mutating func reversePath() -> Result<Address?, AddressFault> {
        if text[place...].starts(with: [0x3c, 0x3e]) { place += 2; return .success(nil) }
        return path().map { $0 }
    }

    /// Forward-path: a mailbox, or `postmaster` without a domain (RFC 5321 4.5.1).
    public mutating func forwardPath() -> Result<Address, AddressFault> {
        let start = place
        _ = take(0x3c)
        let word = takeWhile { $0.isLetter }
        if word.map(\.lowercased) == Array("postmaster".utf8), next == nil || next == 0x3e || next == 0x20 {
            let bracketed = text[start] == 0x3c
            if bracketed == take(0x3e) { return .success(Address(localPart: Array(word), domain: [])) }
        }
        place = start
        return path()
    }

    private mutating func path() -> Result<Address, AddressFault> {
        let start = place
        let bracketed = take(0x3c)
        // A source route is accepted and ignored (RFC 5321 4.1.1.3, appendix C).
        if bracketed, next == 0x40 {
            repeat {
                guard take(0x40), case .success = domain() else { return .failure(.syntax) }
            } while take(0x2c)
            guard take(0x3a) else { return .failure(.syntax) }
        }
        let result = mailbox()
        guard case .success = result else { return result }
        if bracketed, !take(0x3e) { return .failure(.syntax) }
        // 256 octets with the brackets, whether or not they were written (RFC 5321 4.5.3.1.3).
        if place - start > (bracketed ? 256 : 254) { return .failure(.tooLong) }
        return result
    }

    /// Mailbox = Local-part "@" ( Domain / address-literal )
    public mutating func mailbox() -> Result<Address, AddressFault> {
        let start = place
        guard let local = next == 0x22 ? quotedString() : dotString() else { return .failure(.syntax) }
        guard take(0x40) else { return .failure(.syntax) }
        switch domainOrLiteral() {
        case .failure(let fault): return .failure(fault)
        case .success(let domain):
            guard String(validating: text[start..<place], as: UTF8.self) != nil else { return .failure(.encoding) }
            // The limit counts the local part as it was written, quotes included.
            if local.written > 64 || domain.count > 255 { return .failure(.tooLong) }
            return .success(Address(localPart: local.value, domain: domain))
        }
    }

    /// Domain / address-literal, as EHLO takes it too.
    public mutating func domainOrLiteral() -> Result<[UInt8], AddressFault> { next == 0x5b ? literal() : domain() }

    /// Dot-string = Atom *("." Atom)
    private mutating func dotString() -> (value: [UInt8], written: Int)? {
        let value = takeWhile { $0.isAtext || $0 == 0x2e }
        guard let first = value.first, let last = value.last, first != 0x2e, last != 0x2e,
              !zip(value, value.dropFirst()).contains(where: { $0 == 0x2e && $1 == 0x2e }) else { return nil }
        return (Array(value), value.count)
    }

    /// Quoted-string: qtextSMTP or a quoted pair, neither with control characters.
    private mutating func quotedString() -> (value: [UInt8], written: Int)? {
        let start = place
        guard take(0x22) else { return nil }
        var value: [UInt8] = []
        while let byte = next {
            place += 1
            switch byte {
            case 0x22: return (value, place - start)
            case 0x5c:
                guard let quoted = next, 0x20...0x7e ~= quoted else { return nil }
                value.append(quoted)
                place += 1
            case 0x20...0x7e, 0x80...0xff: value.append(byte)
            default: return nil
            }
        }
        return nil
    }

    /// Domain = sub-domain *("." sub-domain). The underscore is no letter of host names, but senders have it.
    private mutating func domain() -> Result<[UInt8], AddressFault> {
        let value = takeWhile { $0.isLetter || $0.isDigit || $0 == 0x2d || $0 == 0x2e || $0 == 0x5f || $0 >= 0x80 }
        let labels = value.split(separator: 0x2e, omittingEmptySubsequences: false)
        for label in labels {
            guard let first = label.first, let last = label.last, first != 0x2d, last != 0x2d else { return .failure(.syntax) }
            if label.count > 63 { return .failure(.tooLong) }
        }
        return .success(Array(value))
    }

    /// address-literal = "[" ( IPv4 / "IPv6:" IPv6 / General ) "]"
    private mutating func literal() -> Result<[UInt8], AddressFault> {
        let start = place
        guard take(0x5b) else { return .failure(.syntax) }
        let inner = Array(takeWhile { 0x21...0x5a ~= $0 || 0x5e...0x7e ~= $0 })
        guard take(0x5d), AddressLiteral.isValid(inner) else { return .failure(.syntax) }
        return .success(Array(text[start..<place]))
    }
}

/// What stands between the brackets of an address literal (RFC 5321 4.1.3).
public enum AddressLiteral {
    public static func isValid(_ text: [UInt8]) -> Bool {
        let prefix = Array("ipv6:".utf8)
        if text.prefix(5).map(\.lowercased) == prefix { return isIPv6(text.dropFirst(5)) }
        if let colon = text.firstIndex(of: 0x3a) {
            // General-address-literal: a standardized tag; none but IPv6 is registered, so the form is all there is to check.
            let tag = text[..<colon]
            return tag.first?.isLetter == true && tag.last != 0x2d && tag.allSatisfy { $0.isLetter || $0.isDigit || $0 == 0x2d } && colon + 1 < text.count
        }
        return isIPv4(text[...])
    }

    static func isIPv4(_ text: ArraySlice<UInt8>) -> Bool {
        let parts = text.split(separator: 0x2e, omittingEmptySubsequences: false)
        return parts.count == 4 && parts.allSatisfy { part in
            (1...3).contains(part.count) && part.allSatisfy(\.isDigit)
                && part.reduce(0) { $0 * 10 + Int($1 - 0x30) } <= 255
        }
    }

    static func isIPv6(_ text: ArraySlice<UInt8>) -> Bool {
        var groups = text.split(separator: 0x3a, omittingEmptySubsequences: false)
        var count = 0
        if let last = groups.last, last.contains(0x2e) {
            guard isIPv4(last) else { return false }
            groups[groups.count - 1] = [0x30]
            count = 1
        }
        // "::" gives two or three empty groups in a row, once.
        var gaps = 0
        var index = 0
        while index < groups.count {
            if groups[index].isEmpty {
                let start = index
                while index < groups.count, groups[index].isEmpty { index += 1 }
                let run = index - start
                let atEdge = start == 0 || index == groups.count
                guard run == (groups.count == run ? 3 : atEdge ? 2 : 1) else { return false }
                gaps += 1
            } else {
                guard groups[index].count <= 4, groups[index].allSatisfy({ $0.isDigit || 0x61...0x66 ~= $0.lowercased }) else { return false }
                count += 1
                index += 1
            }
        }
        // RFC 5321 4.1.3: "::" stands for two groups at least.
        return gaps == 1 ? count <= 6 : gaps == 0 && count == 8
    }
}
