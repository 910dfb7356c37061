// The octets a client has sent and nobody has looked at yet. One allocation, whose pages cost memory only once used.

public final class InputBuffer {
    private var bytes: UnsafeMutableRawBufferPointer
    private var start = 0
    private var end = 0

    /// While a message comes: larger reads are not faster, and cost memory in every session.
    static let contentCapacity = 32768

    /// Enough for most dialogues without touching a second page.
    public init(capacity: Int = 4096) { bytes = .allocate(byteCount: capacity, alignment: 16) }
    deinit { bytes.deallocate() }

    public var isEmpty: Bool { start == end }
    public var count: Int { end - start }
    var contents: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: bytes[start..<end]) }

    /// Has `read` fill the free space; it returns how many octets it put there. False: it put none.
    public func fill(_ read: (UnsafeMutableRawBufferPointer) throws -> Int) rethrows -> Bool {
        if start == end { (start, end) = (0, 0) }
        if end == bytes.count {
            // Called only when more is needed: what is left moves to the front.
            UnsafeMutableRawBufferPointer(rebasing: bytes[..<count]).copyMemory(from: contents)
            (start, end) = (0, count)
        }
        let got = try read(UnsafeMutableRawBufferPointer(rebasing: bytes[end...]))
        end += got
        return got > 0
    }

    /// A message is coming: fewer, larger reads.
    func grow(to capacity: Int) {
        guard bytes.count < capacity else { return }
        let larger = UnsafeMutableRawBufferPointer.allocate(byteCount: capacity, alignment: 16)
        larger.copyMemory(from: contents)
        (start, end) = (0, count)
        bytes.deallocate()
        bytes = larger
    }

    func drop(_ count: Int) { start += count }

    var hasNoRoom: Bool { count == bytes.count }
}
