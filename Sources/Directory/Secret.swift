// Passwords: octets that nobody copies by accident, and that do not stay in memory.
import CLDAP

/// A password. It is overwritten when its owner is done.
public struct Secret: ~Copyable {
    private let room: UnsafeMutableRawBufferPointer
    /// Octets.
    public let count: Int

    /// Moves the octets in: the source is overwritten.
    public init(moving source: UnsafeMutableRawBufferPointer) {
        room = .allocate(byteCount: max(1, source.count), alignment: 1)
        count = source.count
        room.copyMemory(from: UnsafeRawBufferPointer(source))
        if source.count > 0 { cldap_wipe(source.baseAddress, source.count) }
    }

    /// For what is a copy already; the source stays as it is.
    public init(copying source: [UInt8]) {
        room = .allocate(byteCount: max(1, source.count), alignment: 1)
        count = source.count
        room.copyBytes(from: source)
    }

    deinit {
        cldap_wipe(room.baseAddress, room.count)
        room.deallocate()
    }

    /// With no NUL in it: what a C library could take for an end.
    var isPlain: Bool { !room[..<count].contains(0) }

    func withBytes<Result, Failure: Error>(_ body: (UnsafeMutablePointer<CChar>) throws(Failure) -> Result) throws(Failure) -> Result {
        try body(room.baseAddress!.assumingMemoryBound(to: CChar.self))
    }
}
