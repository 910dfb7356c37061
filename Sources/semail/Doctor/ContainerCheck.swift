// The containers of mailboxes: whether the engine answers and has the image, whether the firewall is in force, and whether each mailbox
// has the container that it should.
import Control
import Provisioning
import Unix

enum ContainerCheck {
    /// Nothing is said where there are no containers.
    static func findings(_ home: Home) throws -> [Finding.Result] {
        guard User.isRoot, let engine = try Engine.open(home) else { return [] }
        var states: [String: ContainerState]
        do { states = try engine.states() } catch let error as ProvisioningError {
            return [.mend("people cannot get at their containers: \(error.text)", "what is said of them here comes from control/container-engine (semail-control(5))")]
        }
        var found: [Finding.Result] = []
        if try !engine.hasImage() {
            found.mend("the engine of containers has no image to make new ones of", "run install.sh again: it builds it; or see container-image in semail-control(5)")
        }
        var count = 0
        for entry in try MailboxRegister(home).entries() {
            guard let mailbox = entry.mailbox else { continue }
            let state = states.removeValue(forKey: mailbox.owner)
            guard mailbox.keep.container != nil else { continue }
            count += 1
            if let remedy = Self.remedy(mailbox.owner, state, isStopped: mailbox.keep.isStopped) {
                found.mend("the container of \(entry.address.text) \(state.map { "does not run: it is \($0.word)" } ?? "is missing")", remedy)
            }
        }
        for owner in states.keys.sorted() {
            found.note("semail-\(owner) is the container of a mailbox that is gone", "look what is in it, and remove it: docker rm -f semail-\(owner)")
        }
        // Before the first there is no network either.
        if count > 0, try !Firewall.isInForce() {
            found.mend("the firewall of the containers is not in force: they reach each other and this host", "start the service semail-provision again, and keep nftables(8) from flushing tables that are not yours")
        }
        return found.isEmpty ? [.well(count == 0 ? "there is no container yet" : "\(Words.count(count, "container is", "containers are")) as they should be")] : found
    }

    private static func remedy(_ owner: String, _ state: ContainerState?, isStopped: Bool) -> String? {
        guard let state else { return "run: semail container create \(owner)" }
        return isStopped || state.word == "running" ? nil : "run: semail container start \(owner)"
    }
}
