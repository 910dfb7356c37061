// The way of a message from its file to the wire, through two buffers that are used again for the next: memory stays the same
// whatever the size of a message.
import Unix

final class Outlet {
    enum Fault: Error {
        /// Our own file.
        case unreadable(String)
        case broken(Broken)
        case unwanted
    }

    private static let inputRoom = 65536
    private let input = UnsafeMutableRawBufferPointer.allocate(byteCount: Outlet.inputRoom, alignment: 16)
    private let output = UnsafeMutableRawBufferPointer.allocate(byteCount: Content.room(for: Outlet.inputRoom) + Content.endRoom, alignment: 16)
    private var used = 0

    deinit {
        input.deallocate()
        output.deallocate()
    }

    /// All of it and the final dot. If this throws, the dot has not been sent.
    func send(_ message: Message, to wire: Wire, idleMilliseconds: Int) throws(Fault) {
        used = 0
        var content = Content()
        var start = 0
        while start < message.prefix.count {
            let end = min(start + Outlet.inputRoom, message.prefix.count)
            try makeRoom(Content.room(for: end - start), wire, idleMilliseconds)
            message.prefix[start..<end].withUnsafeBytes { used += content.encode($0, into: UnsafeMutableRawBufferPointer(rebasing: output[used...])) }
            start = end
        }
        var offset = 0
        while true {
            let count: Int
            do throws(SystemError) { count = try message.read(into: input, at: offset) } catch { throw .unreadable(error.text) }
            if count == 0 { break }
            offset += count
            try makeRoom(Content.room(for: count), wire, idleMilliseconds)
            used += content.encode(UnsafeRawBufferPointer(rebasing: input[..<count]), into: UnsafeMutableRawBufferPointer(rebasing: output[used...]))
        }
        // A file that has become shorter is not the message.
        if let size = message.size, offset != size - message.prefix.count { throw .unreadable("the file ends too early") }
        // The moment before it counts: with nobody left to record it, the message would be sent again later.
        if !message.isWanted() { throw .unwanted }
        try makeRoom(Content.endRoom, wire, idleMilliseconds)
        used += content.end(into: UnsafeMutableRawBufferPointer(rebasing: output[used...]))
        try flush(wire, idleMilliseconds)
    }

    private func makeRoom(_ octets: Int, _ wire: Wire, _ milliseconds: Int) throws(Fault) {
        if output.count - used < octets { try flush(wire, milliseconds) }
    }

    private func flush(_ wire: Wire, _ milliseconds: Int) throws(Fault) {
        do throws(Broken) { try wire.send(UnsafeRawBufferPointer(rebasing: output[..<used]), milliseconds: milliseconds) } catch { throw .broken(error) }
        used = 0
    }
}
