// Mailboxes: one small file per address, named by the address, so that a lookup is one open(). `@DOMAIN` stands for a domain
// that has mailboxes: its postmaster and abuse are answered. Links find a mailbox by what else is known of its owner: `~OWNER`, `#UID`
// (of who delivers into it), `[ADDRESS]` of its container. semail(7) shows one.
import Mail
import Unix

/// What is known of one mailbox.
public struct Mailbox: Equatable, Sendable {
    public enum State: String, Sendable { case active, suspended }

    /// The directory uid of the person it belongs to.
    public let owner: String
    /// The numeric user under which deliveries write, and no other program runs.
    public let uid: UInt32
    public let gid: UInt32
    /// Absolute path of the Maildir.
    public let maildir: String
    public var state: State
    /// What else was made for it; no program of the mail path asks.
    public var keep: Keep

    public init(owner: String, uid: UInt32, gid: UInt32, maildir: String, state: State = .active, keep: Keep = Keep()) {
        self.owner = owner
        self.uid = uid
        self.gid = gid
        self.maildir = maildir
        self.state = state
        self.keep = keep
    }

    /// One `key value` per line.
    public var encoded: [UInt8] {
        Array(("owner \(owner)\nuid \(uid)\ngid \(gid)\nmaildir \(maildir)\nstate \(state.rawValue)\n" + keep.text).utf8)
    }

    public init?(_ text: [UInt8]) {
        // No dictionary: every session reads one of these, and a dictionary costs more than all else about it.
        var owner: String?, uid: UInt32?, gid: UInt32?, maildir: String?
        var state: State? = .active
        var keep = Keep()
        for line in text.split(separator: 10) {
            let parts = line.split(separator: 32, maxSplits: 1)
            guard parts.count == 2 else { return nil }
            let value = String(decoding: parts[1], as: UTF8.self)
            switch String(decoding: parts[0], as: UTF8.self) {
            case "owner": owner = value
            case "uid": uid = UInt32(value)
            case "gid": gid = UInt32(value)
            case "maildir": maildir = value
            case "state": state = State(rawValue: value)
            case let key: guard keep.take(key, value) else { return nil }
            }
        }
        guard let owner, let uid, let gid, let maildir, maildir.utf8.first == 0x2f, let state else { return nil }
        self.init(owner: owner, uid: uid, gid: gid, maildir: maildir, state: state, keep: keep)
    }
}

/// The directory of mailboxes.
public struct Mailboxes: ~Copyable {
    private let directory: Directory

    /// Needs only the right to search the directory, not to list it.
    public init(_ path: String) throws(SystemError) { directory = try Directory(searching: path) }

    /// nil: there is none. Throws when that cannot be told, or the file makes no sense.
    public func find(_ address: Address) throws(SystemError) -> Mailbox? {
        guard let name = Mailboxes.fileName(address) else { return nil }
        do throws(SystemError) {
            let bytes = try directory.contents(name, limit: 65536)
            guard let mailbox = Mailbox(bytes) else { throw SystemError("read", "mailboxes/\(name)", code: 22 /* EINVAL */) }
            return mailbox
        } catch {
            if error.isMissing || error.isTooLong { return nil }
            throw error
        }
    }

    /// What a link says of somebody.
    public enum Named: Equatable, Sendable {
        case mailbox(Address)
        /// It leads to a mailbox that is suspended or gone.
        case closed
        /// There is no such link.
        case none
    }

    /// The mailbox that a link names: `~OWNER`, `#UID`, or `[ADDRESS]` of its container.
    public func named(_ link: String) throws(SystemError) -> Named {
        guard !link.contains("/"), !link.contains("\0") else { return .none }
        let target: [UInt8]
        do throws(SystemError) { target = try directory.linkTarget(link) } catch {
            if error.isMissing || error.isTooLong || error.code == 22 /* EINVAL: no link */ { return .none }
            throw error
        }
        guard let address = Address(target), let mailbox = try find(address), mailbox.state == .active else { return .closed }
        return .mailbox(address)
    }

    /// The mailbox of an owner, whatever its state.
    public func mailbox(ofOwner owner: String) throws(SystemError) -> Mailbox? {
        guard !owner.contains("/"), !owner.contains("\0") else { return nil }
        let target: [UInt8]
        do throws(SystemError) { target = try directory.linkTarget("~" + owner) } catch {
            if error.isMissing || error.isTooLong { return nil }
            throw error
        }
        guard let address = Address(target), let mailbox = try find(address), mailbox.owner == owner else { return nil }
        return mailbox
    }

    /// Whether any mailbox lives under the domain.
    public func hosts(domain: [UInt8]) throws(SystemError) -> Bool {
        guard !domain.contains(0x2f), !domain.contains(0) else { return false }
        do throws(SystemError) {
            _ = try directory.status("@" + String(decoding: domain.map(\.lowercased), as: UTF8.self))
            return true
        } catch {
            if error.isMissing || error.isTooLong { return false }
            throw error
        }
    }

    /// The file's name; nil for addresses that can be no file's name and so have no mailbox.
    public static func fileName(_ address: Address) -> String? {
        let key = address.key
        guard !key.isEmpty, key.count <= 255, key[0] != 0x2e, key[0] != 0x40, !key.contains(0x2f), !key.contains(0) else { return nil }
        return String(decoding: key, as: UTF8.self)
    }
}

extension Mailbox {
    /// The directory the Maildir is in: the root of its volume, whose room is the mailbox's room.
    public var volume: String {
        let parent = maildir.utf8.lastIndex(of: 0x2f).map { String(maildir[..<$0]) } ?? ""
        return parent.isEmpty ? "/" : parent
    }
}
