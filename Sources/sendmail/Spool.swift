// Where a message waits until it is whole: in memory as long as it is small, then in a file that has no name. Only a whole message is
// sent, for whoever writes it may take hours, and the service does not wait for so long.
import Unix

final class Spool {
    private static let most = 1 << 20

    private var memory: [UInt8] = []
    /// Made before the door is locked; -1: there is no room for it.
    private let file: Int32
    private let reason: String
    private var isInFile = false

    init(_ environment: Environment) {
        let path = environment["TMPDIR"].flatMap { $0.isEmpty ? nil : $0 } ?? "/tmp"
        do throws(SystemError) { (file, reason) = (try Spool.unnamed(path), "") } catch { (file, reason) = (-1, error.text) }
    }

    /// A file that vanishes with its last descriptor.
    private static func unnamed(_ path: String) throws(SystemError) -> Int32 {
        let directory = try Directory(path)
        let name = ".sendmail.\(Process.id).\(Random.bits())"
        let file = try directory.create(name, mode: 0o600)
        try directory.remove(name)
        return file.release()
    }

    func append(_ bytes: [UInt8]) throws {
        memory += bytes
        if memory.count > Spool.most { try flush() }
    }

    private func flush() throws {
        guard file >= 0 else { throw Trouble("the message is too large for memory, and there is no file for it: \(reason)", .tryAgain) }
        isInFile = true
        try IO.writeAll(file, memory)
        memory.removeAll(keepingCapacity: true)
    }

    /// All of it, in pieces.
    func forEach(_ body: ([UInt8]) throws -> Void) throws {
        if isInFile {
            try IO.seek(file, to: 0)
            while case let piece = try IO.readSome(file, limit: 65536), !piece.isEmpty { try body(piece) }
        }
        if !memory.isEmpty { try body(memory) }
    }
}
