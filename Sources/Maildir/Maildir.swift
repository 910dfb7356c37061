// A Maildir as its specification has it: written and flushed in tmp, then renamed into new, whose names are flushed too.
// At every moment a message is there whole or not at all, and a reader needs no lock.
import Unix

/// One mailbox, open for deliveries.
public struct Maildir: ~Copyable {
    private let tmp: Directory
    private let new: Directory
    private let cur: Directory
    private let hostname: String
    private var count = 0

    /// The Maildir must exist: a mailbox that is not mounted must not spring up beneath its mount point.
    public init(_ path: String, hostname: String) throws(SystemError) {
        let root = try Directory(path)
        let tmp = try root.directory("tmp")
        let new = try root.directory("new")
        let cur = try root.directory("cur")
        self.tmp = tmp
        self.new = new
        self.cur = cur
        // The specification's escapes for what a file name cannot hold.
        self.hostname = hostname.reduce(into: "") { $0 += $1 == "/" ? "\\057" : $1 == ":" ? "\\072" : String($1) }
    }

    /// A message written and flushed in tmp, not yet to be seen.
    public struct Written: Sendable {
        let temporary: String
        let final: String
    }

    /// Writes `prefix` and then all of `source` from where it stands. Leaves nothing behind when it fails.
    /// `name`: what the message will be called before the host's name, the same at every try; nil makes one up.
    public mutating func write(prefix: [UInt8], source: Int32, name: String?) throws(SystemError) -> Written {
        count += 1
        let now = Clock.microseconds()
        let unique = "\(now / 1_000_000).M\(now % 1_000_000)P\(Process.id)Q\(count).\(hostname)"
        let file = try tmp.create(unique, mode: 0o600)
        do throws(SystemError) {
            if !prefix.isEmpty { try IO.writeAll(file.raw, prefix) }
            let size = prefix.count + (try IO.copy(from: source, to: file.raw))
            try IO.flush(file.raw)
            // A late error of writing is told by close, and only there.
            try file.close()
            return Written(temporary: unique, final: "\(name.map { "\($0).\(hostname)" } ?? unique),S=\(size)")
        } catch {
            try? tmp.remove(unique)
            throw error
        }
    }

    /// Gives it its name in new; durable after `flush()`. False: that name is there already, from a try whose success nobody
    /// lived to record; one copy is enough.
    public func publish(_ written: Written) throws(SystemError) -> Bool {
        do throws(SystemError) {
            try tmp.renameNew(written.temporary, to: new, as: written.final)
            return true
        } catch {
            try? tmp.remove(written.temporary)
            if error.isExisting { return false }
            throw error
        }
    }

    /// Those of the names under which messages were delivered before and their reader has taken them from new to cur since.
    public func read(among names: Set<String>) throws(SystemError) -> Set<String> {
        guard !names.isEmpty else { return [] }
        let listing = try cur.list()
        var found: Set<String> = []
        while let file = listing.next() {
            // A name is the first two parts of the file's: seconds and queue id.
            let parts = file.utf8.split(separator: 0x2e, maxSplits: 2)
            guard parts.count == 3 else { continue }
            let name = "\(Substring(parts[0])).\(Substring(parts[1]))"
            if names.contains(name) { found.insert(name) }
        }
        // The reader's moves may not be on the disk yet, and we are about to count on them.
        if !found.isEmpty { try cur.flush() }
        return found
    }

    /// Takes back what was published and could not be flushed.
    public func withdraw(_ written: Written) { try? new.remove(written.final) }

    public func flush() throws(SystemError) { try new.flush() }

    /// Removes what deliveries that died left in tmp, 36 hours ago or longer, as the specification asks.
    public func removeLeftovers() {
        guard let listing = try? tmp.list() else { return }
        let limit = Clock.seconds() - 36 * 3600
        while let name = listing.next() {
            if let status = try? tmp.status(name), status.isRegular, status.modified < limit { try? tmp.remove(name) }
        }
    }
}
