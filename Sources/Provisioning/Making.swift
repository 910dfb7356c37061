// Making a mailbox, and what goes with it, step by step. Each step looks first what is there: a kill at any point leaves work that the
// same call completes, or that Unmaking takes back; the address exists only after the last step.
import Control
import Mail
import Unix

/// The steps of making, in their order; of unmaking they go backwards.
public enum Step: String, CaseIterable, Sendable {
    /// The name, the person's one place and a uid.
    case reserve
    /// The file system, and the Maildir in it.
    case volume
    /// The container, and the keys of those who may log in to it.
    case container
    /// The keys that sign its mail, and records in the DNS.
    case records
    /// Mail is let in.
    case publish
}

public struct Making: Sendable {
    public enum Outcome: Sendable {
        case made(Mailbox)
        /// The same was made before.
        case wasThere(Mailbox)
        /// All is there, and mail is let in when the domain's MX names this host.
        case waiting(Mailbox)
    }

    public enum Phase: Sendable {
        case begins
        case done(milliseconds: Int)
    }

    /// Is told of each step.
    public typealias Report = (Step, Phase) -> Void

    let home: Home

    public init(_ home: Home) { self.home = home }

    public func run(_ wish: Wish, report: Report = { _, _ in }) throws -> Outcome {
        let register = try MailboxRegister(home)
        if case .published(let mailbox) = try timed(.reserve, report, { try register.reserve(wish) }) {
            try register.complete(wish.address, mailbox)
            return .wasThere(mailbox)
        }
        do {
            // Sooner than at the step that needs it: then there is nothing to take back.
            try requireName(wish)
            if let outcome = try resume(wish.address, owner: wish.owner, report: report) { return outcome }
        } catch let error as ProvisioningError where error.refusal == .domainTaken {
            // No other try would make the name free.
            _ = try Unmaking(home).run(wish.address, owner: wish.owner, keepingMail: false)
            throw error
        }
        guard let (listed, inner) = try register.mailbox(of: wish.owner), inner == nil, let mailbox = listed.mailbox else {
            throw ProvisioningError("\(wish.address.text) has been removed while it was made", .noMailbox)
        }
        return .wasThere(mailbox)
    }

    /// Goes on with what was reserved and not published; nil: there is no such thing.
    public func resume(_ address: Address, owner: String, report: Report = { _, _ in }) throws -> Outcome? {
        let lock = try OwnerLock(home, owner)
        guard let mailbox = try MailboxRegister(home).entries(MailboxRegister.making).first(where: { $0.address.key == address.key })?.mailbox else { return nil }
        let outcome = try complete(address, mailbox, report)
        lock.release()
        return outcome
    }

    private func complete(_ address: Address, _ mailbox: Mailbox, _ report: Report) throws -> Outcome {
        try timed(.volume, report) {
            try Volume(home, mailbox.owner, mailbox.keep).make()
            try MaildirCreation.make(mailbox, home)
        }
        try timed(.container, report) { try makeContainer(mailbox, address) }
        try timed(.records, report) { try makeRecords(mailbox, address) }
        if mailbox.keep.isOwnDomain, try !DomainProof(home).isGiven(address) { return .waiting(mailbox) }
        try timed(.publish, report) { try MailboxRegister(home).publish(address) }
        return .made(mailbox)
    }

    /// A subdomain that the zone has for something else is refused. A server that does not answer is no reason to wait here.
    private func requireName(_ wish: Wish) throws {
        guard let mailbox = try MailboxRegister(home).mailbox(of: wish.owner)?.listed.mailbox, mailbox.keep.zone != nil else { return }
        do { try Zone.open(home, zone: mailbox.keep.zone)?.require(wish.address, owner: wish.owner) } catch let error as ProvisioningError {
            if error.refusal != nil { throw error }
        }
    }

    private func makeContainer(_ mailbox: Mailbox, _ address: Address) throws {
        guard mailbox.keep.container != nil, let engine = try Engine.open(home) else { return }
        try engine.prepare()
        try engine.ensure(mailbox, address)
    }

    private func makeRecords(_ mailbox: Mailbox, _ address: Address) throws {
        guard mailbox.keep.zone != nil || mailbox.keep.isOwnDomain else { return }
        let keys = try DKIMKeys.ensure(home, domain: address.domainText)
        guard mailbox.keep.zone != nil else { return }
        guard let zone = try Zone.open(home, zone: mailbox.keep.zone) else { throw ProvisioningError("the setting dns-server is empty, and \(address.text) needs records: set it, or delete the mailbox") }
        try zone.add(address, owner: mailbox.owner, dkim: keys)
    }
}

/// One step of making or unmaking, reported when it begins and when it is done.
func timed<Result>(_ step: Step, _ report: Making.Report, _ body: () throws -> Result) rethrows -> Result {
    report(step, .begins)
    let start = Clock.monotonicMilliseconds()
    let result = try body()
    report(step, .done(milliseconds: Clock.monotonicMilliseconds() - start))
    return result
}
