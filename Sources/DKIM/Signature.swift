// The DKIM-Signature field (RFC 6376 3.5) and the text that a key signs for it (3.7). Pure: keys and hashes are others' work.
import Mail

/// A signature in the making.
public struct Signature {
    /// The field up to its b=, folded, LF line ends.
    private let beginning: [UInt8]
    /// What the key has to sign: the fields that h= names, and this one with an empty b=.
    public let signedText: [UInt8]

    /// The most octets on a line (RFC 5322 2.1.1). Only a domain or selector longer than that goes beyond.
    private static let lineLength = 77

    /// `algorithm`: `rsa-sha256` or `ed25519-sha256`; `bodyHash`: SHA-256 of the canonical body; `time` in seconds since 1970.
    public init(_ header: Header, algorithm: String, domain: [UInt8], selector: String, time: Int, bodyHash: [UInt8]) throws(NotSigned) {
        let names = try SignedFields.choose(from: header)
        var folder = Folder(beginning: "DKIM-Signature:", lineLength: Signature.lineLength)
        for tag in ["v=1", "a=\(algorithm)", "c=relaxed/relaxed"] { folder.add(word: Array("\(tag);".utf8)) }
        folder.add(word: Array("d=".utf8) + domain + [0x3b])
        folder.add(word: Array("s=\(selector);".utf8))
        folder.add(word: Array("t=\(time);".utf8))
        folder.add(word: Array("bh=".utf8) + Base64.encode(bodyHash) + [0x3b])
        for (index, entry) in names.enumerated() {
            let last = index == names.count - 1
            let name = Array("\(entry.name)".utf8) + [last ? 0x3b : 0x3a]
            // White space may stand on both sides of the colons.
            if index == 0 { folder.add(word: Array("h=".utf8) + name) } else { folder.add(name) }
        }
        // On a line of its own, so that what comes behind it changes nothing before it.
        folder.breakLine()
        folder.add(Array("b=".utf8))
        beginning = folder.text

        var text: [UInt8] = []
        for field in names.compactMap(\.field) { text += header.relaxed(field) + [0x0d, 0x0a] }
        let own = try Header(beginning)
        signedText = text + own.relaxed(own.fields[0])
    }

    /// The whole field with its line end, LF throughout.
    public func field(_ signature: [UInt8]) -> [UInt8] {
        var text = beginning
        var room = Signature.lineLength - 3 /* " b=" */
        var rest = Base64.encode(signature)[...]
        while !rest.isEmpty {
            text += rest.prefix(room)
            rest = rest.dropFirst(room)
            text += rest.isEmpty ? [] : [0x0a, 0x20]
            room = Signature.lineLength - 1
        }
        return text + [0x0a]
    }
}

/// Puts together a field of lines that are not too long.
private struct Folder {
    private(set) var text: [UInt8]
    private var column: Int
    private let lineLength: Int

    init(beginning: String, lineLength: Int) {
        text = Array(beginning.utf8)
        column = text.count
        self.lineLength = lineLength
    }

    /// With a space before it, or a new line.
    mutating func add(word: [UInt8]) {
        if column + 1 + word.count > lineLength { breakLine() } else {
            text.append(0x20)
            column += 1
        }
        add(word)
    }

    /// On the same line, if it has room.
    mutating func add(_ piece: [UInt8]) {
        if column > 1, column + piece.count > lineLength { breakLine() }
        text += piece
        column += piece.count
    }

    mutating func breakLine() {
        text += [0x0a, 0x20]
        column = 1
    }
}
