// Looking for CR and LF, sixteen octets at a time: most of the work per octet of a message is here.

/// Where a line ends.
public enum LineEnd {
    /// The offset of the first CR or LF; the length if there is none.
    public static func find(in bytes: UnsafeRawBufferPointer) -> Int {
        var index = 0
        let cr = SIMD16<UInt8>(repeating: 0x0d), lf = SIMD16<UInt8>(repeating: 0x0a)
        while index + 16 <= bytes.count {
            let block = bytes.loadUnaligned(fromByteOffset: index, as: SIMD16<UInt8>.self)
            if any((block .== cr) .| (block .== lf)) { break }
            index += 16
        }
        while index < bytes.count, bytes[index] != 0x0d, bytes[index] != 0x0a { index += 1 }
        return index
    }
}
