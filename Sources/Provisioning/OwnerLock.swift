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
        let locks = try OwnerLock.directory(home), owner = try Name.owner(owner)
        guard let file = try OwnerLock.acquire(owner, locks, seconds: OwnerLock.waitSeconds) else {
            throw ProvisioningError("something has been done about the mailbox of \(owner) for a minute: try again")
        }
        self.init(locks: locks, owner: owner, file: file)
    }

    /// nil: somebody is at it.
    public static func ifFree(_ home: Home, _ owner: String) throws -> OwnerLock? {
        let locks = try directory(home), owner = try Name.owner(owner)
        guard let file = try acquire(owner, locks, seconds: 0) else { return nil }
        return OwnerLock(locks: locks, owner: owner, file: file)
    }

    private init(locks: consuming Directory, owner: String, file: consuming Descriptor) {
        self.locks = locks
        self.owner = owner
        self.file = file
    }

    private static func directory(_ home: Home) throws -> Directory {
        let path = "\(home.run)/provision"
        try Path.makeDirectory(path, mode: 0o755)
        return try Directory(path)
    }

    private static func acquire(_ owner: String, _ locks: borrowing Directory, seconds: Int) throws -> Descriptor? {
        let end = Clock.monotonicMilliseconds() + seconds * 1000
        while true {
            let file = try locks.open(owner, .readWriteOrCreate)
            guard Unix.Process.lock(file, until: end) else { return nil }
            // Whoever held it may have removed it: then it is nobody's lock any more.
            if let named = try? locks.status(owner), try IO.status(file.raw).inode == named.inode { return file }
        }
    }

    /// Whoever waits for it has the same file open, and makes another.
    deinit { try? locks.remove(owner) }

    /// Lets it go. Said explicitly, so that it is held until here.
    public consuming func release() {}
}
