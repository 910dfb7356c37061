// The public keys by which owners reach their containers, in HOME/ssh. Two files have each of them:
//
//   ssh/OWNER/authorized_keys   mounted into the owner's container, whose sshd lets the owner in by it
//   ssh/authorized_keys         of everybody, for this host's sshd: each key may do nothing but open port 22 of its owner's container
//
// sshd reads them at every connection: there is nothing to restart. Besides, in ssh/OWNER, the host key of the container, which a
// container that is made anew finds again. All of it is root's; owners' words arrive here as SSHKey has understood them.
import Control
import Unix

public struct SSHKeys: Sendable {
    public static let most = 20

    private let home: Home
    private static let file = "authorized_keys"
    private static let hostKeyFile = "host_ed25519"

    public init(_ home: Home) { self.home = home }

    /// What is mounted into the owner's container.
    public func directory(of owner: String) throws -> String { home.ssh + "/" + (try Name.owner(owner)) }

    /// The owner's keys, in the order in which they were given.
    public func keys(of owner: String) throws -> [SSHKey] {
        let owner = try Name.owner(owner)
        do throws(SystemError) {
            let text = String(decoding: try Directory(home.ssh).directory(owner).contents(SSHKeys.file), as: UTF8.self)
            return text.split(separator: "\n").compactMap { try? SSHKey(String($0)) }
        } catch {
            if error.isMissing { return [] }
            throw error
        }
    }

    /// The container's own public key, by which its owner knows that it is theirs.
    public func hostKey(of owner: String) throws -> SSHKey? {
        let owner = try Name.owner(owner)
        guard let bytes = try? Directory(home.ssh).directory(owner).contents(SSHKeys.hostKeyFile + ".pub") else { return nil }
        return try? SSHKey(String(decoding: bytes, as: UTF8.self))
    }

    /// Replaces the owner's whole list. Refused are keys that are none (bad-key), and one that another owner has (key-in-use): this host's sshd
    /// goes by the first line that a key is in, and would lead its holder to the other's container.
    public func replace(owner: String, keys texts: [String], container: String) throws {
        let owner = try Name.owner(owner)
        guard Endpoint.isAddress(container) else { throw ProvisioningError("\"\(container)\" is no address of a container") }
        var keys: [SSHKey] = []
        for text in texts where !text.allSatisfy(\.isWhitespace) {
            let key = try SSHKey(text)
            if !keys.contains(key) { keys.append(key) }
        }
        guard keys.count <= SSHKeys.most else { throw ProvisioningError("\(keys.count) keys are too many: \(SSHKeys.most) is the most", .badKey) }

        let all = try openAll(), lock = try lock(all)
        let others = try entries(all).filter { $0.owner != owner }
        for key in keys {
            if others.contains(where: { $0.key == key.bare }) { throw ProvisioningError("\(key.fingerprint) is another person's key: everybody needs one of their own", .keyInUse) }
        }
        // The container's first: a key that is on its way out gets no further than the container's door, if we should be killed here.
        let own = try openOwn(owner, in: all)
        try own.replace(SSHKeys.file, with: Array(keys.map { $0.line + "\n" }.joined().utf8), mode: 0o644)
        try write(others + keys.map { Entry(container: container, key: $0.bare, owner: owner) }, to: all)
        try lock.close()
    }

    /// Nothing of the owner is left, the container's host key included.
    public func remove(owner: String) throws {
        let owner = try Name.owner(owner)
        guard Path.exists(home.ssh) else { return }
        let all = try openAll(), lock = try lock(all)
        let entries = try entries(all), others = entries.filter { $0.owner != owner }
        if others.count != entries.count { try write(others, to: all) }
        try Tree.remove(owner, in: all)
        try all.flush()
        try lock.close()
    }

    /// Makes what a container mounts, unless it is there: its host key, and an empty list of keys.
    public func makeHostKey(owner: String) throws {
        let owner = try Name.owner(owner)
        let all = try openAll(), lock = try lock(all)
        let own = try openOwn(owner, in: all)
        if (try? own.status(SSHKeys.file)) == nil { try own.replace(SSHKeys.file, with: [], mode: 0o644) }
        let name = SSHKeys.hostKeyFile
        if (try? own.status(name)) == nil {
            let fresh = ".\(name).fresh"
            for leftover in [fresh, fresh + ".pub"] { do throws(SystemError) { try own.remove(leftover) } catch { if !error.isMissing { throw error } } }
            try Tool("ssh-keygen").must(["-q", "-t", "ed25519", "-N", "", "-C", owner, "-f", own.path + "/" + fresh])
            for name in [fresh, fresh + ".pub"] {
                let file = try own.open(name)
                try IO.flush(file.raw)
                try file.close()
            }
            // The private half comes last: where it is, the other is too.
            try own.rename(fresh + ".pub", to: own, as: name + ".pub")
            try own.rename(fresh, to: own, as: name)
            try own.flush()
        }
        try lock.close()
    }

    // MARK: Everybody's file

    /// A line of it: `restrict,port-forwarding,permitopen="172.30.0.3:22" ssh-ed25519 AAAA… OWNER`
    private struct Entry {
        let container: String
        let key: String
        let owner: String

        init(container: String, key: String, owner: String) {
            self.container = container
            self.key = key
            self.owner = owner
        }

        init?(_ line: Substring) {
            let words = line.split(separator: " ").map(String.init)
            guard words.count == 4, words[0].hasPrefix(Entry.before), words[0].hasSuffix(Entry.after) else { return nil }
            self.init(container: String(words[0].dropFirst(Entry.before.count).dropLast(Entry.after.count)), key: "\(words[1]) \(words[2])", owner: words[3])
        }

        private static let before = "restrict,port-forwarding,permitopen=\""
        private static let after = ":22\""
        var line: String { "\(Entry.before)\(container)\(Entry.after) \(key) \(owner)\n" }
    }

    private func entries(_ all: borrowing Directory) throws -> [Entry] {
        let text: String
        do throws(SystemError) { text = String(decoding: try all.contents(SSHKeys.file, limit: 1 << 28), as: UTF8.self) } catch {
            if error.isMissing { return [] }
            throw error
        }
        return try text.split(separator: "\n").map { line in
            guard let entry = Entry(line) else { throw ProvisioningError("\(all.path)/\(SSHKeys.file) has a line that is not ours (\(line.prefix(40))...): take it out first") }
            return entry
        }
    }

    private func write(_ entries: [Entry], to all: borrowing Directory) throws {
        try all.replace(SSHKeys.file, with: Array(entries.map(\.line).joined().utf8), mode: 0o644)
    }

    // MARK: Directories

    private func openAll() throws -> Directory {
        if !Path.exists(home.ssh) {
            try Path.makeDirectory(home.ssh, mode: 0o755)
            try Path.setMode(home.ssh, 0o755)
        }
        return try Directory(home.ssh)
    }

    private func openOwn(_ owner: String, in all: borrowing Directory) throws -> Directory {
        do throws(SystemError) {
            try all.makeDirectory(owner, mode: 0o755)
            try Path.setMode(all.path + "/" + owner, 0o755)
            try all.flush()
        } catch { if !error.isExisting { throw error } }
        return try all.directory(owner)
    }

    /// Held by whoever changes keys.
    private func lock(_ all: borrowing Directory) throws -> Descriptor {
        let file = try all.open(".lock", .append)
        let end = Clock.monotonicMilliseconds() + 10_000
        while !Process.lock(file) {
            guard Clock.monotonicMilliseconds() < end else { throw ProvisioningError("another command has been changing keys for ten seconds: try again") }
            Process.sleep(milliseconds: 20)
        }
        return consume file
    }
}
