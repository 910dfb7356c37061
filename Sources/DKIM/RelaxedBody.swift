// The body of a message in the relaxed canonical form (RFC 6376 3.4.4), for hashing. Pure: octets in, octets out, in pieces,
// and memory does not grow with the body.

/// LF and CRLF both end a line, since both travel as CRLF; a CR elsewhere is an octet like any other.
public struct RelaxedBody {
    private var output: [UInt8] = []
    /// Empty lines that have come and count only if something follows them.
    private var emptyLines = 0
    /// White space that counts only if something follows it on its line.
    private var hasSpace = false
    /// A CR whose LF may still come.
    private var hasReturn = false
    /// The line that is read now has something on it.
    private var hasText = false

    private static let pieceSize = 32768

    public init() { output.reserveCapacity(RelaxedBody.pieceSize * 2) }

    /// The next octets of the body. `take` gets canonical ones, as soon as there are many.
    public mutating func update(_ bytes: UnsafeRawBufferPointer, _ take: (UnsafeRawBufferPointer) -> Void) {
        var index = 0
        while index < bytes.count {
            let byte = bytes[index]
            index += 1
            if hasReturn {
                hasReturn = false
                if byte != 0x0a { append(0x0d, take) }
            }
            switch byte {
            case 0x0a: endLine()
            case 0x0d: hasReturn = true
            case 0x09, 0x20: hasSpace = true
            default:
                append(byte, take)
                // Most octets stay as they are: those of words, and a space between two.
                let start = index
                while index < bytes.count {
                    if bytes[index] > 0x20 { index += 1 } else if bytes[index] == 0x20, index + 1 < bytes.count, bytes[index + 1] > 0x20 { index += 2 } else { break }
                }
                output.append(contentsOf: UnsafeRawBufferPointer(rebasing: bytes[start..<index]))
            }
            if output.count >= RelaxedBody.pieceSize { handOn(take) }
        }
    }

    /// The end of the body: its last line is complete, whether it has a line end or not.
    public mutating func finish(_ take: (UnsafeRawBufferPointer) -> Void) {
        if hasReturn { append(0x0d, take) }
        if hasText { endLine() }
        handOn(take)
    }

    private mutating func endLine() {
        hasSpace = false
        if hasText { output += [0x0d, 0x0a] } else { emptyLines += 1 }
        hasText = false
    }

    private mutating func append(_ byte: UInt8, _ take: (UnsafeRawBufferPointer) -> Void) {
        while emptyLines > 0 {
            output += [0x0d, 0x0a]
            emptyLines -= 1
            // Fifty million of them may have come.
            if output.count >= RelaxedBody.pieceSize { handOn(take) }
        }
        if hasSpace { output.append(0x20) }
        hasSpace = false
        hasText = true
        output.append(byte)
    }

    private mutating func handOn(_ take: (UnsafeRawBufferPointer) -> Void) {
        output.withUnsafeBytes(take)
        output.removeAll(keepingCapacity: true)
    }
}
