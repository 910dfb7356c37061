// Reading a file from a position of one's own: who shares an open file shares its position too.
import Glibc

extension IO {
    /// Where reading goes on; nil: it is a pipe, a terminal or a socket, and there is no such place.
    public static func position(_ raw: Int32) -> Int? {
        let offset = lseek(raw, 0, SEEK_CUR)
        return offset < 0 ? nil : Int(offset)
    }

    /// Up to `buffer.count` octets from `offset` on; 0 at the end. The position stays as it is.
    public static func read(_ raw: Int32, into buffer: UnsafeMutableRawBufferPointer, at offset: Int) throws(SystemError) -> Int {
        try check("pread") { pread(raw, buffer.baseAddress, buffer.count, off_t(offset)) }
    }
}
