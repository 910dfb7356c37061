// The last step of making a mailbox, and the first of unmaking it: one rename, before which no mail is let in, or after which none is.
import Control
import Mail
import Unix

extension MailboxRegister {
    /// From now on the address exists. Done again, it changes nothing.
    public func publish(_ address: Address) throws {
        let name = try fileName(address)
        let lock = try lock()
        guard let mailbox = try read(name, in: MailboxRegister.making) else {
            guard try read(name) != nil else { throw ProvisioningError("there is no mailbox \(address.text) to publish", .noMailbox) }
            return
        }
        try makeCompanions(address, mailbox, name)
        // From now on the mail is this mailbox's, and goes with it.
        try rewrite(name, in: MailboxRegister.making) { $0.keep.keepsMail = false }
        let making = try directory.directory(MailboxRegister.making)
        try making.rename(name, to: directory)
        try directory.flush()
        try making.flush()
        removeEmpty(MailboxRegister.making)
        try lock.close()
    }

    /// The links of a published mailbox that are missing: a home of an older version.
    public func complete(_ address: Address, _ mailbox: Mailbox) throws {
        let name = try fileName(address)
        let lock = try lock()
        try makeCompanions(address, mailbox, name)
        try directory.flush()
        try lock.close()
    }

    /// What stands beside a mailbox's file, as far as it is missing: the marker of its domain, and the links that lead to it.
    private func makeCompanions(_ address: Address, _ mailbox: Mailbox, _ name: String) throws(SystemError) {
        // `@DOMAIN`, there while the domain has a mailbox.
        do throws(SystemError) { try Entry.makeFile("@" + address.domainText, in: directory, with: [], mode: 0o644) } catch {
            if !error.isExisting { throw error }
        }
        for link in MailboxRegister.links(mailbox) where (try? directory.linkTarget(link)) != Array(name.utf8) { try directory.replaceLink(link, to: name) }
    }

    /// From now on the address does not exist; what was made for it still does. The mailbox may be published or half made.
    public func withdraw(_ address: Address, keepingMail: Bool) throws -> Mailbox {
        let name = try fileName(address)
        let lock = try lock()
        let isPublished = try read(name) != nil, isMaking = try read(name, in: MailboxRegister.making) != nil
        if isPublished { try requireUnused(address) }
        try makeDirectory(MailboxRegister.leaving)
        let leaving = try directory.directory(MailboxRegister.leaving)
        if isPublished || isMaking {
            let source = isPublished ? nil : MailboxRegister.making
            // Noted first: whoever completes this after a kill must know it too.
            if keepingMail { try rewrite(name, in: source) { $0.keep.keepsMail = true } }
            if let source { try directory.directory(source).rename(name, to: leaving) } else { try directory.rename(name, to: leaving) }
            try leaving.flush()
            try directory.flush()
            removeEmpty(MailboxRegister.making)
        }
        guard let mailbox = try read(name, in: MailboxRegister.leaving) else { throw ProvisioningError("there is no mailbox \(address.text): semail mailbox list shows those there are", .noMailbox) }
        for link in try directory.names() where !link.contains("@") && (try? directory.linkTarget(link)) == Array(name.utf8) { try directory.remove(link) }
        if try !entries().contains(where: { $0.address.domainText == address.domainText }) {
            do throws(SystemError) { try directory.remove("@" + address.domainText) } catch { if !error.isMissing { throw error } }
        }
        try directory.flush()
        try lock.close()
        return mailbox
    }

    /// The last trace of an address that has been withdrawn and of which nothing is left: its name and its uid are free.
    public func forget(_ address: Address) throws {
        let lock = try lock()
        let leaving = try directory.directory(MailboxRegister.leaving)
        try leaving.remove(try fileName(address))
        try leaving.flush()
        removeEmpty(MailboxRegister.leaving)
        try lock.close()
    }

    /// Whoever needs it next makes it, under the lock.
    private func removeEmpty(_ name: String) { try? directory.removeDirectory(name) }

    /// Changes a mailbox's file in place.
    public func change(_ address: Address, _ body: (inout Mailbox) throws -> Void) throws {
        let name = try fileName(address)
        let lock = try lock()
        let inner = try read(name) != nil ? nil : MailboxRegister.making
        guard try read(name, in: inner) != nil else { throw ProvisioningError("there is no mailbox \(address.text)", .noMailbox) }
        try rewrite(name, in: inner, body)
        try lock.close()
    }

    private func rewrite(_ name: String, in inner: String?, _ body: (inout Mailbox) throws -> Void) throws {
        guard let before = try read(name, in: inner) else { return }
        var mailbox = before
        try body(&mailbox)
        guard mailbox != before else { return }
        if let inner { try directory.directory(inner).replace(name, with: mailbox.encoded, mode: 0o644) } else { try directory.replace(name, with: mailbox.encoded, mode: 0o644) }
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

    /// `~OWNER`; where mailboxes have users of their own, `#UID`; and `[ADDRESS]` of its container: by them the outgoing server knows who sends.
    static func links(_ mailbox: Mailbox) -> [String] {
        ["~\(mailbox.owner)"] + (User.isRoot ? ["#\(mailbox.uid)"] : []) + (mailbox.keep.container.map { ["[\($0)]"] } ?? [])
    }

    private func fileName(_ address: Address) throws(ProvisioningError) -> String {
        guard let name = Mailboxes.fileName(address) else { throw ProvisioningError("\(address.text) can be no mailbox's address", .badName) }
        return name
    }

    /// nil: there is no such file.
    private func read(_ name: String, in inner: String? = nil) throws -> Mailbox? {
        do throws(SystemError) {
            let bytes = if let inner { try directory.directory(inner).contents(name, limit: 65536) } else { try directory.contents(name, limit: 65536) }
            guard let mailbox = Mailbox(bytes) else {
                let path = [home.mailboxes, inner, name].compactMap { $0 }.joined(separator: "/")
                throw SystemError("read", path, code: 22 /* EINVAL */)
            }
            return mailbox
        } catch {
            if error.isMissing { return nil }
            throw error
        }
    }
}
