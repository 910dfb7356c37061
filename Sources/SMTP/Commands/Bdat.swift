// BDAT size [LAST] (RFC 3030 2): a chunk of the content, told by its length. Its octets follow the command whatever we
// answer, so they are taken off the input in any case.
import Mail

extension Dialogue {
    mutating func bdat(_ argument: ArraySlice<UInt8>) {
        let words = argument.split(separator: 0x20)
        guard let first = words.first, first.count <= 18, first.allSatisfy({ 0x30...0x39 ~= $0 }), let size = Int(String(decoding: first, as: UTF8.self)),
              words.count == 1 || words.count == 2 && words[1].map(\.uppercased) == Array("LAST".utf8) else {
            // How many octets follow is unknown now: nothing that comes could be understood.
            reply("501 5.5.4 The form is BDAT size or BDAT size LAST; good-bye")
            endDraining()
            return
        }
        guard let current = transaction, current.accepted > 0 else {
            input.grow(to: InputBuffer.contentCapacity)
            mode = .unwantedChunk(left: size)
            return
        }
        mode = .chunk(left: size, isLast: words.count == 2)
        if !current.isChunked {
            transaction?.isChunked = true
            want(.open(envelope()))
        }
    }
}
