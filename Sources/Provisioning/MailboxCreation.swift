// Making a mailbox. The Maildir comes first, its domain's marker second, and the file that makes the address exist last.
import Control
import Mail
import Unix

extension MailboxRegister {
    public enum Creation {
        case made(Mailbox)
        /// The same command was here before.
        case wasThere(Mailbox)
    }

    public func create(owner: String, _ address: Address) throws -> Creation {
        let owner = try Name.owner(owner)
        try Name.requireUnreserved(address, owner: owner)
        guard let name = Mailboxes.fileName(address) else { throw ProvisioningError("\(address.text) can be no mailbox's address") }
        let lock = try lock()
        let entries = try entries()
        for entry in entries {
            guard let mailbox = entry.mailbox else {
                throw ProvisioningError("\(home.mailboxes)/\(entry.name) makes no sense: mend it or remove it first (semail doctor)")
            }
            let isSame = entry.name == name
            if isSame, mailbox.owner == owner {
                try mark(address)
                try link(mailbox, to: address)
                return .wasThere(mailbox)
            }
            if isSame { throw ProvisioningError("\(address.text) is the mailbox of \(mailbox.owner): choose another address") }
            if mailbox.owner == owner {
                throw ProvisioningError(
                    "\(owner) has the mailbox \(entry.address.text), and one is all an owner has: "
                        + "another address for it is a line in the control file aliases")
            }
        }
        if try aliases().contains(where: { Address($0.address)?.key == address.key }) {
            throw ProvisioningError("the control file aliases sends the mail of \(address.text) elsewhere: take that line out first")
        }

        let maildir = "\(home.mounts)/\(owner)/Maildir"
        let user = try identity(maildir, entries.compactMap(\.mailbox))
        try makeMaildir(maildir, user)
        try mark(address)
        let mailbox = Mailbox(owner: owner, uid: user.uid, gid: user.gid, maildir: maildir)
        try link(mailbox, to: address)
        try Entry.makeFile(name, in: directory, with: mailbox.encoded, mode: 0o644)
        try lock.close()
        return .made(mailbox)
    }

    /// `@DOMAIN`, there while the domain has a mailbox.
    private func mark(_ address: Address) throws(SystemError) {
        do throws(SystemError) { try Entry.makeFile("@" + address.domainText, in: directory, with: [], mode: 0o644) } catch {
            if !error.isExisting { throw error }
        }
    }

    /// `~OWNER`, and `#UID` where mailboxes have users of their own: by them the outgoing server knows who sends.
    private func link(_ mailbox: Mailbox, to address: Address) throws(SystemError) {
        for name in MailboxRegister.links(mailbox) where (try? directory.linkTarget(name)) != address.bytes {
            try directory.replaceLink(name, to: address.text)
            try directory.flush()
        }
    }

    static func links(_ mailbox: Mailbox) -> [String] { ["~\(mailbox.owner)"] + (User.isRoot ? ["#\(mailbox.uid)"] : []) }

    // MARK: Whose it is

    /// root gives every mailbox a user of its own; anybody else has but one to give.
    private func identity(_ maildir: String, _ mailboxes: [Mailbox]) throws -> User {
        guard User.isRoot else { return User.current }
        let range = try uidRange()
        // A Maildir that an earlier attempt made, or that was kept when its mailbox was deleted, keeps its user.
        if let entry = try Entry(maildir), entry.uid != 0 {
            guard entry.kind == .directory, range.contains(entry.uid), !mailboxes.contains(where: { $0.uid == entry.uid }) else {
                throw ProvisioningError(
                    "\(maildir) is there already and belongs to the uid \(entry.uid), who can have no mailbox: "
                        + "move it away, or give it to an unused uid of \(range.lowerBound)-\(range.upperBound)")
            }
            return User(name: "\(entry.uid)", uid: entry.uid, gid: entry.gid)
        }
        let taken = try Set(mailboxes.flatMap { [$0.uid, $0.gid] }).union(maildirOwners()).union(MailboxRegister.systemIDs())
        // Above the highest in use, so that the uid of a deleted mailbox is not given out again at once; then the gaps.
        let highest = taken.filter(range.contains).max()
        let first = highest.flatMap { $0 < range.upperBound ? $0 + 1 : nil } ?? range.lowerBound
        guard let uid = taken.contains(first) ? range.first(where: { !taken.contains($0) }) : first else {
            throw ProvisioningError("every uid of \(range.lowerBound)-\(range.upperBound) is in use: widen the setting mailbox-uids")
        }
        return User(name: "\(uid)", uid: uid, gid: uid)
    }

    private func maildirOwners() throws -> [UInt32] {
        let mounts = try Directory(home.mounts)
        return try mounts.names().compactMap { try Entry("\(home.mounts)/\($0)/Maildir")?.uid }
    }

    /// uids and gids of accounts on this host: both files have the number in the third field.
    private static func systemIDs() -> [UInt32] {
        ["/etc/passwd", "/etc/group"].flatMap { path -> [UInt32] in
            let bytes = (try? Path.contents(path, limit: 1 << 24)) ?? []
            return bytes.split(separator: 10).compactMap { line in
                let fields = line.split(separator: 58, omittingEmptySubsequences: false)
                return fields.count > 2 ? UInt32(String(decoding: fields[2], as: UTF8.self)) : nil
            }
        }
    }

    // MARK: The Maildir

    /// mnt/OWNER is ours and can be passed through; the Maildir is the owner's alone. It is handed over last: a Maildir that
    /// has its owner is whole.
    private func makeMaildir(_ maildir: String, _ user: User) throws {
        let parent = String(maildir.dropLast("/Maildir".count))
        if try Entry(parent) == nil {
            try Path.makeDirectory(parent, mode: 0o700)
            try Path.setMode(parent, 0o711)
        }
        let before = try Entry(maildir)
        if let before, before.uid == user.uid, User.isRoot {
            // It is in other hands: root makes nothing in it, where a link could lead elsewhere.
            for inner in ["tmp", "new", "cur"] where try Entry(maildir + "/" + inner)?.kind != .directory {
                throw ProvisioningError(
                    "\(maildir) has no directory \(inner): run: install -d -o \(user.uid) -g \(user.gid) -m 0700 \(maildir)/\(inner)")
            }
        } else {
            try Path.makeDirectory(maildir, mode: 0o700)
            for inner in ["tmp", "new", "cur"] {
                try Path.makeDirectory(maildir + "/" + inner, mode: 0o700)
                if User.isRoot { try Path.setOwner(maildir + "/" + inner, uid: user.uid, gid: user.gid) }
            }
            if User.isRoot { try Path.setOwner(maildir, uid: user.uid, gid: user.gid) }
        }
        for path in [maildir, parent, home.mounts] { try Directory(path).flush() }
    }
}

extension Address {
    /// In small letters, as markers are named.
    var domainText: String { String(decoding: domain.map(\.lowercased), as: UTF8.self) }
}
