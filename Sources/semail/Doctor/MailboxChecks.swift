// The mailboxes: that each can be found, filled and read, by the right user and by no other.
import Control
import Mail
import Provisioning
import Unix

enum MailboxCheck {
    static func findings(_ home: Home) throws -> [Finding.Result] {
        let register = try MailboxRegister(home)
        let entries = try register.entries()
        var found: [Finding.Result] = []
        for entry in entries { try look(entry, home, &found) }
        try lookForSharing(entries, &found)
        try lookAtMarkers(register, entries, home, &found)
        try lookAtAliases(register, home, &found)
        lookForRemains(register, entries, home, &found)
        if !found.isEmpty { return found }
        return [.well(entries.isEmpty ? "there is no mailbox" : Words.count(entries.count, "mailbox is", "mailboxes are") + " whole")]
    }

    // MARK: One mailbox

    private static func look(_ entry: MailboxRegister.Listed, _ home: Home, _ found: inout [Finding.Result]) throws {
        let name = entry.address.text, file = "\(home.mailboxes)/\(entry.name)"
        guard let mailbox = entry.mailbox else {
            found.mend("\(file) makes no sense: mail for \(name) waits or is refused", "mend it as semail(7) shows, or remove it")
            return
        }
        if Mailboxes.fileName(entry.address) != entry.name {
            found.mend("\(file) can never be found: names of mailboxes are in small letters", "rename it")
        }
        if let mode = try Entry(file)?.mode, User.isRoot, mode & 0o044 != 0o044 || mode & 0o022 != 0 {
            found.mend(
                "\(file) has the mode \(String(mode, radix: 8)): sessions must read it, and only root may write it", "run: chmod 644 \(file)")
        }
        let range = try Control(home.control).range(.mailboxUids)
        if User.isRoot, !range.contains(mailbox.uid) {
            found.mend(
                "\(name) has the uid \(mailbox.uid), outside of mailbox-uids \(range.lowerBound)-\(range.upperBound): qrunner can become no such user",
                "widen mailbox-uids, or change the uid")
        }
        if mailbox.state == .suspended {
            found.note("\(name) is suspended: its mail waits", "set its state to active in \(file) when that is over")
        }
        if !mailbox.maildir.hasPrefix(home.mounts + "/") {
            found.mend(
                "\(name): \(mailbox.maildir) is not beneath \(home.mounts), where deliveries can go",
                "move it there, and correct the line maildir in \(file)")
        }
        try lookAtMaildir(name, mailbox, &found)
    }

    private static func lookAtMaildir(_ name: String, _ mailbox: Mailbox, _ found: inout [Finding.Result]) throws {
        let path = mailbox.maildir, user = "\(mailbox.uid):\(mailbox.gid)"
        guard let entry = try Entry(path), entry.kind == .directory else {
            found.mend(
                "\(name): there is no directory \(path); its mail waits",
                "mount or restore it, or delete the mailbox: semail mailbox delete \(name)")
            return
        }
        if entry.uid != mailbox.uid || entry.gid != mailbox.gid {
            found.mend("\(name): \(path) belongs to \(entry.uid):\(entry.gid), not to \(user)", "run: chown -R \(user) \(path)")
        }
        if entry.mode & 0o022 != 0 || entry.mode & 0o700 != 0o700 {
            found.mend("\(name): \(path) has the mode \(String(entry.mode, radix: 8))", "run: chmod 700 \(path)")
        }
        guard User.isRoot || mailbox.uid == User.current.uid else { return }
        for inner in ["tmp", "new", "cur"] {
            let inner = path + "/" + inner
            if let entry = try Entry(inner), entry.kind == .directory, entry.uid == mailbox.uid { continue }
            found.mend(
                "\(name): \(inner) is no directory of its user", "run: install -d -o \(mailbox.uid) -g \(mailbox.gid) -m 0700 \(inner)")
        }
    }

    // MARK: All of them

    private static func lookForSharing(_ entries: [MailboxRegister.Listed], _ found: inout [Finding.Result]) throws {
        var uids: [UInt32: String] = [:], owners: [String: String] = [:]
        for entry in entries {
            guard let mailbox = entry.mailbox else { continue }
            let name = entry.address.text
            if let other = owners.updateValue(name, forKey: mailbox.owner) {
                found.mend("\(mailbox.owner) owns \(other) and \(name)", "an owner has one mailbox: delete one, and make it an alias")
            }
            // In a home of one user all mailboxes are that user's.
            guard User.isRoot || mailbox.uid != User.current.uid else { continue }
            if let other = uids.updateValue(name, forKey: mailbox.uid) {
                found.mend("\(other) and \(name) share the uid \(mailbox.uid)", "give one of them a uid of its own, and chown its Maildir")
            }
        }
    }

    private static func lookAtMarkers(
        _ register: borrowing MailboxRegister, _ entries: [MailboxRegister.Listed], _ home: Home, _ found: inout [Finding.Result]
    ) throws {
        let domains = Set(entries.map { String(decoding: $0.address.domain, as: UTF8.self) })
        let markers = Set(try register.markers())
        for domain in domains.subtracting(markers).sorted() {
            found.mend("\(domain) has mailboxes and no marker: postmaster@\(domain) is refused", "run: touch '\(home.mailboxes)/@\(domain)'")
        }
        for domain in markers.subtracting(domains).sorted() {
            found.mend("\(domain) has a marker and no mailbox", "run: rm '\(home.mailboxes)/@\(domain)'")
        }
    }

    /// Whether their targets exist is checked with the settings; here, whether they can be reached at all.
    private static func lookAtAliases(_ register: borrowing MailboxRegister, _ home: Home, _ found: inout [Finding.Result]) throws {
        let mailboxes = try Mailboxes(home.mailboxes)
        for (alias, _) in try register.aliases() {
            if let address = Address(alias), try mailboxes.find(address) != nil {
                found.note("the alias \(alias) has no effect: a mailbox has that address", "remove one of the two")
            }
        }
    }

    /// What a deletion has left, by accident or on purpose.
    private static func lookForRemains(
        _ register: borrowing MailboxRegister, _ entries: [MailboxRegister.Listed], _ home: Home, _ found: inout [Finding.Result]
    ) {
        for entry in (try? register.entries(MailboxRegister.leaving)) ?? [] {
            found.mend("the deletion of \(entry.address.text) was interrupted", "run: semail mailbox delete \(entry.address.text)")
        }
        for entry in (try? register.entries(MailboxRegister.making)) ?? [] {
            guard let mailbox = entry.mailbox, !mailbox.keep.isOwnDomain else {
                found.note("\(entry.address.text) is made, and waits for the MX of its domain to point here", "nothing; semail mailbox delete \(entry.address.text) gives it up")
                continue
            }
            found.note("the creation of \(entry.address.text) was interrupted", "run: semail mailbox create \(mailbox.owner) \(entry.address.text)")
        }
        let owners = Set(entries.compactMap { $0.mailbox?.owner })
        for name in (try? Directory(home.mounts).names()) ?? [] where !owners.contains(name) {
            found.note("\(home.mounts)/\(name) holds mail and belongs to no mailbox", "semail mailbox create \(name) ADDRESS takes it over; or remove it")
        }
    }
}
