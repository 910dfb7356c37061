// One at a time does something about a person's mailbox: provision's workers and the admin's commands.
import Control
import Unix

/// Held by whoever makes, changes or unmakes something of a person. A file in run/provision, which goes when it is let go.
public struct OwnerLock: ~Copyable {
    private static let waitSeconds = 60

    private let locks: Directory
    private let owner: String
    private let file: Descriptor

    /// Waits a minute for whoever is at it.
    public init(_ home: Home, _ owner: String) throws {
        let path = "\(home.run)/provision"
        try Path.makeDirectory(path, mode: 0o755)
        let locks = try Directory(path)
        file = try OwnerLock.acquire(try Name.owner(owner), locks)
        self.locks = locks
        self.owner = owner
    }

    private static func acquire(_ owner: String, _ locks: borrowing Directory) throws -> Descriptor {
        let end = Clock.monotonicMilliseconds() + waitSeconds * 1000
        while true {
            let file = try locks.open(owner, .readWriteOrCreate)
            while !Unix.Process.lock(file) {
                guard Clock.monotonicMilliseconds() < end else { throw ProvisioningError("something has been done about the mailbox of \(owner) for a minute: try again") }
                Unix.Process.sleep(milliseconds: 20)
            }
            // Whoever held it may have removed it: then it is nobody's lock any more.
            if let named = try? locks.status(owner), try IO.status(file.raw).inode == named.inode { return file }
        }
    }

    /// Whoever waits for it has the same file open, and makes another.
    deinit { try? locks.remove(owner) }

    /// Lets it go. Said explicitly, so that it is held until here.
    public consuming func release() {}
}
