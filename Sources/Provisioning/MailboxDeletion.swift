// Removing a mailbox. First the address ceases to exist, by one rename; then its domain's marker goes, if it was the
// last there; then the mail. A crash in between is mended by the same command again.
import Control
import Mail
import Unix

extension MailboxRegister {
    public struct Deletion {
        public let mailbox: Mailbox
        /// nil: the mail is gone.
        public let mailKeptAt: String?
    }

    public func delete(_ address: Address, keepingMail: Bool) throws -> Deletion {
        guard let name = Mailboxes.fileName(address) else { throw ProvisioningError("\(address.text) can be no mailbox's address") }
        let lock = try lock()
        let exists = (try? directory.status(name)) != nil
        if exists {
            try requireUnused(address)
            do throws(SystemError) { try directory.makeDirectory(MailboxRegister.leaving, mode: 0o700) } catch {
                if !error.isExisting { throw error }
            }
        } else if !unfinished().contains(name) {
            throw ProvisioningError("there is no mailbox \(address.text): semail mailbox list shows those there are")
        }
        let leaving = try directory.directory(MailboxRegister.leaving)
        if exists {
            try directory.rename(name, to: leaving)
            try leaving.flush()
            try directory.flush()
        }
        guard let mailbox = Mailbox(try leaving.contents(name, limit: 65536)) else {
            throw ProvisioningError("\(leaving.path)/\(name) makes no sense: remove it, and the mail in \(home.mounts), by hand")
        }
        let links = try directory.names().filter { !$0.contains("@") && (try? directory.linkTarget($0)) == Array(name.utf8) }
        for link in links { try directory.remove(link) }
        let others = try entries()
        if !others.contains(where: { $0.address.domainText == address.domainText }) {
            do throws(SystemError) { try directory.remove("@" + address.domainText) } catch { if !error.isMissing { throw error } }
            try directory.flush()
        }
        let kept = try removeMail(mailbox, keepingMail, others)
        try leaving.remove(name)
        try leaving.flush()
        try? directory.removeDirectory(MailboxRegister.leaving)
        try lock.close()
        return Deletion(mailbox: mailbox, mailKeptAt: kept)
    }

    /// Mail that others send here on purpose would be refused from one moment to the next.
    private func requireUnused(_ address: Address) throws {
        if let postmaster = try? postmaster(), postmaster.key == address.key {
            throw ProvisioningError(
                "\(address.text) gets the mail for postmaster and abuse: name another mailbox first, with semail config postmaster ADDRESS")
        }
        if let alias = try aliases(of: address).first {
            throw ProvisioningError("the alias \(alias) delivers to \(address.text): take it out of the control file aliases first")
        }
    }

    /// Returns where mail is left.
    private func removeMail(_ mailbox: Mailbox, _ keepingMail: Bool, _ others: [Listed]) throws -> String? {
        // Removed is only what create makes; whatever else an admin wrote into the file is the admin's.
        let isOurs = mailbox.maildir == "\(home.mounts)/\(mailbox.owner)/Maildir" && (try? Name.owner(mailbox.owner)) != nil
        let isShared = others.contains { $0.mailbox.map { $0.owner == mailbox.owner || $0.maildir == mailbox.maildir } ?? true }
        if keepingMail || !isOurs || isShared { return mailbox.maildir }
        let mounts = try Directory(home.mounts)
        try Tree.remove(mailbox.owner, in: mounts)
        try mounts.flush()
        return nil
    }
}
