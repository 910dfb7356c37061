// Unmaking a mailbox: the steps of Making backwards. First the address ceases to exist, last its name and uid are free; a kill in between
// leaves its file in mailboxes/.leaving, and the same call completes the work.
import Control
import Mail
import Unix

public struct Unmaking: Sendable {
    public struct Outcome: Sendable {
        public let mailbox: Mailbox
        /// nil: the mail is gone.
        public let mailKeptAt: String?
    }

    let home: Home

    public init(_ home: Home) { self.home = home }

    public func run(_ address: Address, owner: String, keepingMail: Bool, report: Making.Report = { _, _ in }) throws -> Outcome {
        let lock = try OwnerLock(home, owner)
        let register = try MailboxRegister(home)
        let mailbox = try timed(.publish, report) { try register.withdraw(address, keepingMail: keepingMail) }
        try timed(.records, report) { try removeRecords(mailbox, address, register) }
        try timed(.container, report) { try removeContainer(mailbox) }
        let kept = try timed(.volume, report) { try removeMail(mailbox, keepingMail || mailbox.keep.keepsMail, register) }
        try timed(.reserve, report) { try register.forget(address) }
        lock.release()
        return Outcome(mailbox: mailbox, mailKeptAt: kept)
    }

    private func removeRecords(_ mailbox: Mailbox, _ address: Address, _ register: borrowing MailboxRegister) throws {
        guard mailbox.keep.zone != nil || mailbox.keep.isOwnDomain else { return }
        if mailbox.keep.zone != nil, let zone = try Zone.open(home, zone: mailbox.keep.zone) { try zone.remove(address, owner: mailbox.owner) }
        // The system's own keys stay.
        if mailbox.keep.zone == address.domainText { return }
        let others = try register.entries() + register.entries(MailboxRegister.making)
        if !others.contains(where: { $0.address.domainText == address.domainText }) { try DKIMKeys.remove(home, domain: address.domainText) }
    }

    private func removeContainer(_ mailbox: Mailbox) throws {
        if mailbox.keep.container != nil, let engine = try Engine.open(home) { try engine.remove(owner: mailbox.owner) }
        if User.isRoot { try SSHKeys(home).remove(owner: mailbox.owner) }
    }

    /// Returns where mail is left.
    private func removeMail(_ mailbox: Mailbox, _ keepingMail: Bool, _ register: borrowing MailboxRegister) throws -> String? {
        // Removed is only what Making makes; whatever else an admin wrote into the file is the admin's.
        let isOurs = mailbox.maildir == "\(home.mounts)/\(mailbox.owner)/Maildir" && (try? Name.owner(mailbox.owner)) != nil
        let isShared = try register.entries().contains { $0.mailbox.map { $0.owner == mailbox.owner || $0.maildir == mailbox.maildir } ?? true }
        if keepingMail || !isOurs || isShared { return mailbox.maildir }
        try Volume(home, mailbox.owner, mailbox.keep).remove()
        return nil
    }
}
