// The first step of making a mailbox: its name, its owner's one place and a uid become this mailbox's and nobody else's. One file in
// mailboxes/.making, written under the lock: of two who want the same, one is told.
import Control
import Mail
import Unix

/// What somebody wants.
public struct Wish: Sendable {
    public let owner: String
    public let address: Address
    /// Octets; nil: as the setting volume-size says.
    public let volumeOctets: Int?
    /// An admin is not held to what people may choose, and is believed about domains.
    public let isAdmins: Bool

    public init(owner: String, address: Address, volumeOctets: Int? = nil, isAdmins: Bool) {
        self.owner = owner
        self.address = address
        self.volumeOctets = volumeOctets
        self.isAdmins = isAdmins
    }
}

extension MailboxRegister {
    public enum Reservation {
        /// Its file is in mailboxes/.making: there is work to do.
        case begun(Mailbox)
        /// The same was made before, and is complete.
        case published(Mailbox)
    }

    public func reserve(_ wish: Wish) throws -> Reservation {
        let owner = try Name.owner(wish.owner), address = wish.address
        try Name.requireUnreserved(address, owner: owner)
        let policy = try AddressPolicy(control)
        if !wish.isAdmins { try policy.require(address) }
        guard let name = Mailboxes.fileName(address) else { throw ProvisioningError("\(address.text) can be no mailbox's address", .badName) }
        let lock = try lock()
        let published = try entries(), making = try entries(MailboxRegister.making), leaving = try entries(MailboxRegister.leaving)
        for entry in published + making {
            guard let mailbox = entry.mailbox else {
                throw ProvisioningError("\(entry.path) makes no sense: mend it or remove it first (semail doctor)")
            }
            let isSame = entry.name == name
            if isSame, mailbox.owner == owner { return published.contains { $0.name == name } ? .published(mailbox) : .begun(mailbox) }
            if isSame { throw ProvisioningError("\(address.text) is the mailbox of \(mailbox.owner): choose another address", .taken) }
            if mailbox.owner == owner {
                throw ProvisioningError(
                    "\(owner) has the mailbox \(entry.address.text), and one is all an owner has: "
                        + "another address for it is a line in the control file aliases", .hasOne)
            }
        }
        for entry in leaving where entry.name == name || entry.mailbox?.owner == owner {
            throw ProvisioningError("\(entry.address.text) is being removed: try again when that is done (semail mailbox delete \(entry.address.text) completes it)", .taken)
        }
        if try aliases().contains(where: { Address($0.address)?.key == address.key }) {
            throw ProvisioningError("the control file aliases sends the mail of \(address.text) elsewhere: take that line out first", .taken)
        }
        let kind = policy.kind(of: address)
        // A domain belongs to its first mailbox's owner; the system's own is everybody's.
        if !wish.isAdmins, kind != .system, let other = (published + making + leaving).first(where: { $0.address.domainText == address.domainText }) {
            throw ProvisioningError("\(other.address.domainText) is another person's: choose another domain", .domainTaken)
        }
        let mailbox = try plan(wish, kind, (published + making + leaving).compactMap(\.mailbox))
        try makeDirectory(MailboxRegister.making)
        try Entry.makeFile(name, in: directory.directory(MailboxRegister.making), with: mailbox.encoded, mode: 0o644)
        try lock.close()
        return .begun(mailbox)
    }

    /// What is to be made, by the settings as they are now.
    private func plan(_ wish: Wish, _ kind: DomainKind, _ others: [Mailbox]) throws -> Mailbox {
        let owner = wish.owner
        let maildir = "\(home.mounts)/\(owner)/Maildir"
        var keep = Keep(since: Clock.seconds())
        if User.isRoot {
            keep.volume = try Volume.kind(control)
            if keep.volume != .directory {
                keep.volumeOctets = try wish.volumeOctets ?? control.number(.volumeSize)
                try Volume.require(octets: keep.volumeOctets)
            }
            // Mail that was kept when an earlier mailbox was deleted tells whose it was.
            try Volume(home, owner, keep).mountIfThere()
        }
        // Should this one not come to be, what was there before stays.
        keep.keepsMail = try Entry(maildir) != nil
        let user = try identity(maildir, others)
        if User.isRoot {
            if try !control.text(.containerEngine).isEmpty, owner != Name.postmaster {
                let network = try ContainerNetwork(control.text(.containerNetwork))
                guard let container = network.address(uid: user.uid, firstUid: try uidRange().lowerBound) else {
                    throw ProvisioningError("the network \(network.text) has no address for the uid \(user.uid): widen the setting container-network", .full)
                }
                keep.container = container
            }
            keep.isOwnDomain = kind == .own && !wish.isAdmins
            if kind != .own, try !control.text(.dnsServer).isEmpty { keep.zone = try control.text(.domain) }
        }
        return Mailbox(owner: owner, uid: user.uid, gid: user.gid, maildir: maildir, keep: keep)
    }

    func makeDirectory(_ name: String) throws(SystemError) {
        do throws(SystemError) {
            try directory.makeDirectory(name, mode: 0o755)
            try directory.flush()
        } catch { if !error.isExisting { throw error } }
    }

    // MARK: Whose it is

    /// root gives every mailbox a user of its own; anybody else has but one to give.
    private func identity(_ maildir: String, _ mailboxes: [Mailbox]) throws -> User {
        guard User.isRoot else { return User.current }
        let range = try uidRange()
        // A Maildir that was kept when its mailbox was deleted keeps its user.
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
            throw ProvisioningError("every uid of \(range.lowerBound)-\(range.upperBound) is in use: widen the setting mailbox-uids", .full)
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
}

extension Address {
    /// In small letters, as markers are named.
    var domainText: String { String(decoding: domain.map(\.lowercased), as: UTF8.self) }
}
