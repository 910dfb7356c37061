// A header section taken apart into its fields (RFC 5322 2.2), and a field in the relaxed canonical form (RFC 6376 3.4.2).
// Pure. What it reads comes from strangers: memory is a small multiple of the octets.
import Mail

/// Why a message is left as it is, in words for the log.
public struct NotSigned: Error, Equatable {
    public let reason: String

    public init(_ reason: String) { self.reason = reason }
}

/// A header section. LF and CRLF both end a line, and may be mixed.
public struct Header {
    /// A field, by its place among the octets.
    public struct Field: Equatable, Sendable {
        let start: Int
        /// Behind the name, without the white space that may follow it (RFC 5322 4.5).
        let nameEnd: Int
        let valueStart: Int
        /// Before the last line's end.
        let end: Int
    }

    public let bytes: [UInt8]
    /// From top to bottom.
    public let fields: [Field]

    /// `bytes` end before the empty line. A line that is neither a field nor a continuation is an error: readers do not agree
    /// on what it is, some begin the body there, and none of them would find the signature to be right.
    public init(_ bytes: [UInt8]) throws(NotSigned) {
        var fields: [Field] = []
        var place = 0
        while place < bytes.count {
            let lineEnd = bytes[place...].firstIndex(of: 0x0a) ?? bytes.count
            let end = lineEnd > place && lineEnd < bytes.count && bytes[lineEnd - 1] == 0x0d ? lineEnd - 1 : lineEnd
            if bytes[place] == 0x20 || bytes[place] == 0x09 {
                guard let last = fields.popLast() else { throw NotSigned("the header begins with a continuation") }
                fields.append(Field(start: last.start, nameEnd: last.nameEnd, valueStart: last.valueStart, end: end))
            } else {
                let name = bytes[place..<end].prefix { 0x21...0x7e ~= $0 && $0 != 0x3a }
                guard let colon = bytes[name.endIndex..<end].firstIndex(where: { $0 != 0x20 && $0 != 0x09 }), bytes[colon] == 0x3a, !name.isEmpty else {
                    throw NotSigned("a line of the header is no field")
                }
                fields.append(Field(start: place, nameEnd: name.endIndex, valueStart: colon + 1, end: end))
            }
            place = lineEnd + 1
        }
        self.bytes = bytes
        self.fields = fields
    }

    /// Where the header section ends, and where the body begins behind the empty line. nil: the empty line is not among these octets.
    public static func boundary(in bytes: [UInt8]) -> (headerEnd: Int, bodyStart: Int)? {
        var place = 0
        while place < bytes.count {
            if bytes[place] == 0x0a { return (place, place + 1) }
            if bytes[place] == 0x0d, place + 1 < bytes.count, bytes[place + 1] == 0x0a { return (place, place + 2) }
            guard let lineEnd = bytes[place...].firstIndex(of: 0x0a) else { return nil }
            place = lineEnd + 1
        }
        return nil
    }

    /// The first line ends with CRLF, and so do the others, one hopes.
    public var hasCRLF: Bool {
        guard let lineEnd = bytes.firstIndex(of: 0x0a) else { return false }
        return lineEnd > 0 && bytes[lineEnd - 1] == 0x0d
    }

    /// The fields of a name, given in small letters, from bottom to top: the order in which signatures count them (RFC 6376 5.4.2).
    public func fields(named name: some Collection<UInt8>) -> [Field] {
        fields.reversed().filter { $0.nameEnd - $0.start == name.count && zip(bytes[$0.start..<$0.nameEnd], name).allSatisfy { $0.lowercased == $1 } }
    }

    /// What stands behind the colon, folded as it came.
    public func body(of field: Field) -> [UInt8] { Array(bytes[field.valueStart..<field.end]) }

    /// Name in small letters, lines unfolded, white space one space or, at both ends, none. Without a line end.
    public func relaxed(_ field: Field) -> [UInt8] {
        var result = bytes[field.start..<field.nameEnd].map(\.lowercased)
        result.append(0x3a)
        var hasSpace = false
        var isFirst = true
        for index in field.valueStart..<field.end {
            let byte = bytes[index]
            switch byte {
            case 0x20, 0x09: hasSpace = true
            case 0x0a: break
            case 0x0d where index + 1 < field.end && bytes[index + 1] == 0x0a: break
            default:
                if hasSpace, !isFirst { result.append(0x20) }
                hasSpace = false
                isFirst = false
                result.append(byte)
            }
        }
        return result
    }
}
