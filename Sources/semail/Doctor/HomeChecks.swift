// The home itself: layout, settings, mailboxes, postmaster.
import Control
import Mail
import Provisioning
import Unix

enum LayoutCheck {
    static func findings(_ home: Home, _ layout: Layout) throws -> [Finding.Result] {
        let differences = try layout.differences()
        return differences.isEmpty ? [.well("\(home.path): \(layout.lines.count) paths are as they should be")] : differences.map { .mend($0.text, $0.remedy) }
    }
}

enum SettingsCheck {
    static func findings(_ home: Home) throws -> [Finding.Result] {
        let control = try Control(home.control)
        var found: [Finding.Result] = []
        for setting in Setting.all {
            do {
                let text = try control.text(setting)
                if !setting.accepts(text) {
                    found.append(.mend("\(setting.name) is \"\(text)\", which no program understands", "\(SettingRules.form(setting.kind)): semail config \(setting.name) VALUE"))
                } else {
                    _ = try SettingRules.check(setting, text, home)
                }
            } catch let error as ControlError {
                found.append(.mend(error.text, "run: semail config \(setting.name) VALUE"))
            } catch let error as Failure {
                found.append(.mend("\(setting.name): \(error.text)", "run: semail config \(setting.name) VALUE"))
            } catch let error as ProvisioningError {
                found.append(.mend("\(setting.name): \(error.text)", "run: semail config \(setting.name) VALUE"))
            }
        }
        let known = Set(Setting.all.map(\.name))
        for name in (try? Directory(home.control).names()) ?? [] where !known.contains(name) {
            found.append(.note("\(home.control)/\(name) is no setting; it has no effect", "remove it, or see semail config for the names there are"))
        }
        return found.isEmpty ? [.well("\(Setting.all.count) settings, each with a value that makes sense")] : found
    }
}

enum MailboxCheck {
    static func findings(_ home: Home) throws -> [Finding.Result] {
        let register = try MailboxRegister(home)
        let range = try Control(home.control).range(.mailboxUids)
        var found: [Finding.Result] = []
        var uids: [UInt32: String] = [:], owners: [String: String] = [:]
        var domains: Set<String> = []
        var entries = 0
        for entry in try register.entries() {
            entries += 1
            let name = entry.address.text, file = "\(home.mailboxes)/\(entry.name)"
            guard let mailbox = entry.mailbox else {
                found.append(.mend("\(file) makes no sense: mail for \(name) waits or is refused", "mend it as semail(7) shows, or remove it"))
                continue
            }
            domains.insert(String(decoding: entry.address.domain, as: UTF8.self))
            if Mailboxes.fileName(entry.address) != entry.name {
                found.append(.mend("\(file) can never be found: names of mailboxes are in small letters", "rename it"))
            }
            if let mode = try Entry(file)?.mode, User.isRoot, mode & 0o044 != 0o044 || mode & 0o022 != 0 {
                found.append(.mend("\(file) has the mode \(String(mode, radix: 8)): sessions must read it, and only root may write it", "run: chmod 644 \(file)"))
            }
            if User.isRoot || mailbox.uid != User.current.uid {
                if let other = uids.updateValue(name, forKey: mailbox.uid) { found.append(.mend("\(other) and \(name) share the uid \(mailbox.uid)", "give one of them a uid of its own, and chown its Maildir")) }
                if User.isRoot, !range.contains(mailbox.uid) {
                    found.append(.mend("\(name) has the uid \(mailbox.uid), outside of mailbox-uids \(range.lowerBound)-\(range.upperBound): qrunner can become no such user", "widen mailbox-uids, or change the uid"))
                }
            }
            if let other = owners.updateValue(name, forKey: mailbox.owner) { found.append(.mend("\(mailbox.owner) owns \(other) and \(name)", "an owner has one mailbox: delete one, and make it an alias")) }
            if mailbox.state == .suspended { found.append(.note("\(name) is suspended: its mail waits", "set its state to active in \(file) when that is over")) }
            if !mailbox.maildir.hasPrefix(home.mounts + "/") {
                found.append(.mend("\(name): \(mailbox.maildir) is not beneath \(home.mounts), where deliveries can go", "move it there, and correct the line maildir in \(file)"))
            }
            found += try maildir(name, mailbox)
        }
        found += try markers(register, domains, home) + aliases(register, home) + remains(register, owners, home)
        return found.isEmpty ? [.well(entries == 0 ? "there is no mailbox" : Words.count(entries, "mailbox is", "mailboxes are") + " whole")] : found
    }

    private static func maildir(_ name: String, _ mailbox: Mailbox) throws -> [Finding.Result] {
        guard let entry = try Entry(mailbox.maildir), entry.kind == .directory else {
            return [.mend("\(name): there is no directory \(mailbox.maildir); its mail waits", "mount or restore it, or delete the mailbox: semail mailbox delete \(name)")]
        }
        var found: [Finding.Result] = []
        if entry.uid != mailbox.uid || entry.gid != mailbox.gid {
            found.append(.mend("\(name): \(mailbox.maildir) belongs to \(entry.uid):\(entry.gid), not to \(mailbox.uid):\(mailbox.gid)", "run: chown -R \(mailbox.uid):\(mailbox.gid) \(mailbox.maildir)"))
        }
        if entry.mode & 0o022 != 0 || entry.mode & 0o700 != 0o700 { found.append(.mend("\(name): \(mailbox.maildir) has the mode \(String(entry.mode, radix: 8))", "run: chmod 700 \(mailbox.maildir)")) }
        guard User.isRoot || mailbox.uid == User.current.uid else { return found }
        for inner in ["tmp", "new", "cur"] {
            let path = mailbox.maildir + "/" + inner
            if let directory = try Entry(path), directory.kind == .directory, directory.uid == mailbox.uid { continue }
            found.append(.mend("\(name): \(path) is no directory of its user", "run: install -d -o \(mailbox.uid) -g \(mailbox.gid) -m 0700 \(path)"))
        }
        return found
    }

    private static func markers(_ register: borrowing MailboxRegister, _ domains: Set<String>, _ home: Home) throws -> [Finding.Result] {
        let markers = Set(try register.markers())
        return domains.subtracting(markers).sorted().map { .mend("\($0) has mailboxes and no marker: postmaster@\($0) is refused", "run: touch '\(home.mailboxes)/@\($0)'") }
            + markers.subtracting(domains).sorted().map { .mend("\($0) has a marker and no mailbox", "run: rm '\(home.mailboxes)/@\($0)'") }
    }

    private static func aliases(_ register: borrowing MailboxRegister, _ home: Home) throws -> [Finding.Result] {
        // Whether their targets exist is checked with the settings; here, whether they can be reached at all.
        let mailboxes = try Mailboxes(home.mailboxes)
        return try register.aliases().compactMap { alias, _ in
            guard let address = Address(alias), try mailboxes.find(address) != nil else { return nil }
            return .note("the alias \(alias) has no effect: a mailbox has that address", "remove one of the two")
        }
    }

    private static func remains(_ register: borrowing MailboxRegister, _ owners: [String: String], _ home: Home) throws -> [Finding.Result] {
        let begun = register.unfinished().map { Finding.Result.mend("the deletion of \($0) was interrupted", "run: semail mailbox delete \($0)") }
        guard let names = try? Directory(home.mounts).names() else { return begun }
        return begun + names.filter { owners[$0] == nil }.map {
            .note("\(home.mounts)/\($0) holds mail and belongs to no mailbox", "semail mailbox create \($0) ADDRESS takes it over; or remove it")
        }
    }
}

enum PostmasterCheck {
    static func findings(_ home: Home) throws -> [Finding.Result] {
        let register = try MailboxRegister(home)
        let remedy = "run: semail config postmaster ADDRESS, with the address of a mailbox that somebody reads"
        guard let address = try register.postmaster(), let mailbox = try Mailboxes(home.mailboxes).find(address) else {
            return [.mend("nobody gets the mail for postmaster and abuse, and senders hear 451", remedy)]
        }
        guard let directory = try? Directory(mailbox.maildir).directory("new"), let names = try? directory.list() else {
            return [.note("the unread mail of \(address.text) cannot be seen by this user", "run it as root, or as that mailbox's user")]
        }
        var unread = 0, oldest = Clock.seconds()
        while let name = names.next() {
            unread += 1
            if let time = try? directory.status(name).modified { oldest = min(oldest, time) }
        }
        if unread == 0 { return [.well("mail for postmaster goes to \(address.text), who has read it all")] }
        let age = Clock.seconds() - oldest
        let text = "\(address.text) has \(Words.count(unread, "unread message", "unread messages")), the oldest \(Words.duration(age)) old"
        let reading = "read it: mutt -f \(mailbox.maildir)"
        return [age > 7 * 86400 ? .mend(text, reading) : .note(text, reading)]
    }
}
