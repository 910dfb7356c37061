// The home itself: layout, settings, postmaster.
import Control
import Mail
import Provisioning
import Unix

enum LayoutCheck {
    static func findings(_ home: Home, _ layout: Layout) throws -> [Finding.Result] {
        let differences = try layout.differences()
        if differences.isEmpty { return [.well("\(home.path): \(layout.lines.count) paths are as they should be")] }
        return differences.map { .mend($0.text, $0.remedy) }
    }
}

enum SettingsCheck {
    static func findings(_ home: Home) throws -> [Finding.Result] {
        let control = try Control(home.control)
        var found: [Finding.Result] = []
        for setting in Setting.all {
            guard let text = fault(setting, control, home) else { continue }
            found.mend("\(setting.name): \(text)", "run: semail config \(setting.name) VALUE")
        }
        // Directories of keys, what slapd reads, and passwords, which semail config does not print.
        let known = Set(Setting.all.map(\.name) + ["tls", "dkim", "slapd.conf"] + KeyCheck.secrets.map(\.name))
        for name in (try? Directory(home.control).names()) ?? [] where !known.contains(name) {
            found.note("\(home.control)/\(name) is no setting; it has no effect", "remove it, or see semail config for the names there are")
        }
        return found.isEmpty ? [.well("\(Setting.all.count) settings, each with a value that makes sense")] : found
    }

    /// What is wrong with a value; nil: nothing.
    private static func fault(_ setting: Setting, _ control: borrowing Control, _ home: Home) -> String? {
        do {
            _ = try SettingRules.check(setting, control.text(setting), home)
            return nil
        } catch { return Failure.sentence(error) ?? "\(error)" }
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
