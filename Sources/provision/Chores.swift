// What is due once a minute, and at the start: volumes mounted, containers running, interrupted work taken up again, domains that are
// waited for looked at, and the facts that the portal shows written down. One thing that fails keeps no other from being done.
import Control
import Mail
import Program
import Provisioning
import Unix

struct Chores {
    /// How often the MX of a domain that is waited for is looked at.
    private static let proofSeconds = 300
    /// How long somebody may claim a domain whose MX does not point here.
    private static let claimSeconds = 7 * 86400

    private let home: Home

    init(_ home: Home) { self.home = home }

    func run(isFirst: Bool) throws -> Ending {
        let register = try MailboxRegister(home)
        attempt("leaving") { try unmakeRest(register) }
        let mailboxes = try register.entries(), making = try register.entries(MailboxRegister.making)
        for entry in mailboxes { mount(entry, in: home.mailboxes) }
        for entry in making { mount(entry, in: home.mailboxes + "/" + MailboxRegister.making) }
        attempt("engine") { try tendContainers(mailboxes + making, isFirst: isFirst) }
        attempt("making") { try makeRest(register) }
        attempt("facts") { try Facts(home).noteQueue() }
        attempt("answers") { try RequestBox(home).removeOldAnswers() }
        return .done
    }

    private func attempt(_ what: String, _ owner: String = "", _ body: () throws -> Void) {
        do { try body() } catch let error as ProvisioningError where error.refusal == .noMailbox {
            // Whoever held the owner's lock has completed it.
        } catch { Log.error("chore", .text("what", what), .text("owner", owner), .text("reason", Worker.words(error).0)) }
    }

    /// Whoever holds the owner's lock mounts it, or wants it gone.
    private func mount(_ entry: MailboxRegister.Listed, in directory: String) {
        guard let mailbox = entry.mailbox else { return }
        attempt("mount", mailbox.owner) {
            let volume = Volume(home, mailbox.owner, mailbox.keep)
            guard try !volume.isMounted, let lock = try OwnerLock.ifFree(home, mailbox.owner) else { return }
            // It may have been unmade meanwhile.
            if Path.exists("\(directory)/\(entry.name)") { try volume.mountIfThere() }
            lock.release()
        }
    }

    /// Unmaking that was interrupted. Its owner's lock is held by whoever is at it.
    private func unmakeRest(_ register: borrowing MailboxRegister) throws {
        for entry in try register.entries(MailboxRegister.leaving) {
            guard let mailbox = entry.mailbox else { continue }
            attempt("leaving", mailbox.owner) { _ = try Unmaking(home).run(entry.address, owner: mailbox.owner, keepingMail: false) }
        }
    }

    /// Making that was interrupted and that no request is about; and claims of domains.
    private func makeRest(_ register: borrowing MailboxRegister) throws {
        let box = try RequestBox(home)
        let asked = try box.undone().compactMap { try? box.request($0).owner }
        let now = Clock.seconds()
        for entry in try register.entries(MailboxRegister.making) {
            guard let mailbox = entry.mailbox, !asked.contains(mailbox.owner) else { continue }
            let age = now - mailbox.keep.since
            if mailbox.keep.isOwnDomain, age > Chores.claimSeconds {
                attempt("claim", mailbox.owner) {
                    _ = try Unmaking(home).run(entry.address, owner: mailbox.owner, keepingMail: false)
                    Log.info("claim-ended", .text("owner", mailbox.owner), .bytes("address", entry.address.bytes))
                }
            } else if !mailbox.keep.isOwnDomain || age % Chores.proofSeconds < 60 {
                attempt("making", mailbox.owner) {
                    if case .made? = try Making(home).resume(entry.address, owner: mailbox.owner) {
                        Log.info("done", .text("request", ""), .text("do", "create"), .text("owner", mailbox.owner))
                    }
                }
            }
        }
    }

    /// The engine itself starts none when it starts, which is before their volumes and the firewall are there.
    private func tendContainers(_ mailboxes: [MailboxRegister.Listed], isFirst: Bool) throws {
        guard User.isRoot, let engine = try Engine.open(home) else { return }
        // Somebody may have flushed the host's rules.
        if try isFirst || !Firewall.isInForce() { try engine.prepare() }
        let states = try engine.states()
        for entry in mailboxes {
            guard let mailbox = entry.mailbox, mailbox.keep.container != nil, !mailbox.keep.isStopped, states[mailbox.owner]?.isRunning == false else { continue }
            attempt("start", mailbox.owner) {
                let lock = try OwnerLock(home, mailbox.owner)
                // Its owner may have stopped it meanwhile.
                if try !Person(home, mailbox.owner).mailbox.keep.isStopped { try engine.start(owner: mailbox.owner) }
                lock.release()
            }
        }
        try Facts(home).noteContainers(engine)
    }
}
