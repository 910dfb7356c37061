// What is written, gathered into large pieces; the octets of large files are moved by the kernel. Whoever reads may be slow: this process
// ends only when nothing moved for some minutes.
import Unix

final class Output {
    /// Since the last octets were taken.
    static let idleSeconds = 600
    private static let pieceOctets = 256 << 10
    /// Files from this size on go by the kernel.
    private static let largeOctets = 64 << 10
    /// Moved in one call: a link of 16 KB a second does it within the time.
    private static let moveOctets = 8 << 20

    private let target: Int32
    private var pending: [UInt8] = []
    /// The first failure: nothing is written after it.
    private var failure: SystemError?

    init(_ target: Int32) {
        self.target = target
        pending.reserveCapacity(2 * Output.pieceOctets)
    }

    func append(_ bytes: some Sequence<UInt8>) {
        pending.append(contentsOf: bytes)
        if pending.count >= Output.pieceOctets { flush() }
    }

    func append(_ bytes: UnsafeRawBufferPointer) {
        pending.append(contentsOf: bytes)
        if pending.count >= Output.pieceOctets { flush() }
    }

    func append(_ byte: UInt8) { pending.append(byte) }

    func repeating(_ byte: UInt8, _ count: Int) {
        var left = count
        while left > 0 {
            let piece = min(left, 65536)
            append(repeatElement(byte, count: piece))
            left -= piece
        }
    }

    /// Just so many octets of a file; of one that has become shorter meanwhile, zeros for the rest.
    func append(_ file: borrowing Descriptor, octets: Int) throws {
        var left = octets
        if octets >= Output.largeOctets {
            flush()
            while left > 0 {
                try check()
                let count = try IO.copy(from: file.raw, to: target, most: min(left, Output.moveOctets))
                Process.endAfter(seconds: Output.idleSeconds)
                if count == 0 { break }
                left -= count
            }
        } else {
            let bytes = try IO.readAll(file.raw, limit: octets)
            append(bytes)
            left -= bytes.count
        }
        repeating(0, left)
        try check()
    }

    private func flush() {
        guard failure == nil, !pending.isEmpty else { pending.removeAll(keepingCapacity: true); return }
        do throws(SystemError) { try IO.writeAll(target, pending) } catch { failure = error }
        pending.removeAll(keepingCapacity: true)
        Process.endAfter(seconds: Output.idleSeconds)
    }

    /// Throws what went wrong so far: whoever reads has gone, as a rule.
    func check() throws(SystemError) { if let failure { throw failure } }

    func finish() throws(SystemError) {
        flush()
        try check()
    }
}
