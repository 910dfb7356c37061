// What can be asked about a mailbox that is there: its container, keys, size, state, and its own messages in the queue.
import Control
import Mail
import Program
import Provisioning
import Queue
import Unix

struct Orders {
    let home: Home

    init(_ home: Home) { self.home = home }

    func carryOut(_ request: Request, _ person: Person) throws {
        let lock = try OwnerLock(home, request.owner)
        let register = try MailboxRegister(home), owner = request.owner
        switch request.wanted {
        case .start:
            try register.change(person.address) { $0.keep.isStopped = false }
            try container(person) { engine in try engine.start(owner: owner) }
        case .stop:
            try register.change(person.address) { $0.keep.isStopped = true }
            try container(person) { engine in try engine.stop(owner: owner) }
        case .restart:
            try register.change(person.address) { $0.keep.isStopped = false }
            try container(person) { engine in try engine.restart(owner: owner) }
        case .rebuild:
            try register.change(person.address) { $0.keep.isStopped = false }
            let person = try Person(home, owner)
            try container(person) { engine in try engine.rebuild(person.mailbox, person.address) }
        case .keys(let keys):
            guard let container = person.mailbox.keep.container else { throw Orders.noContainer(owner) }
            try SSHKeys(home).replace(owner: owner, keys: keys, container: container)
        case .resize(let octets):
            try grow(person, to: octets)
            try register.change(person.address) { $0.keep.volumeOctets = octets }
        case .suspend: try register.change(person.address) { $0.state = .suspended }
        case .resume: try register.change(person.address) { $0.state = .active }
        case .hold(let id): try order(.hold, id, person)
        case .release(let id): try order(.release, id, person)
        case .retry(let id): try order(.retry, id, person)
        case .cancel(let id): try order(.delete, id, person)
        case .create, .delete, .check: break
        }
        lock.release()
    }

    private static func noContainer(_ owner: String) -> ProvisioningError { ProvisioningError("\(owner) has no container", .noContainer) }

    private func container(_ person: Person, _ body: (Engine) throws -> Void) throws {
        guard person.mailbox.keep.container != nil, let engine = try Engine.open(home) else { throw Orders.noContainer(person.mailbox.owner) }
        try body(engine)
    }

    /// The container holds the volume: where the kernel cannot let a mounted one grow, it stops for a moment.
    private func grow(_ person: Person, to octets: Int) throws {
        let mailbox = person.mailbox
        try Volume(home, mailbox.owner, mailbox.keep).grow(to: octets) { body in
            let engine = mailbox.keep.container == nil ? nil : try Engine.open(home)
            try engine?.stop(owner: mailbox.owner)
            try body()
            if !mailbox.keep.isStopped { try engine?.start(owner: mailbox.owner) }
        }
    }

    private func order(_ order: QueueOrder, _ text: String, _ person: Person) throws {
        let unknown = ProvisioningError("no message \(text) of \(person.address.text) waits in the queue", .noMessage)
        guard let id = QueueID(text) else { throw unknown }
        let store = try QueueStore(home.queue)
        guard let place = try store.find(id), let message = try store.open(id, place), message.envelope.submitter?.key == person.address.key else { throw unknown }
        switch try QrunnerSocket.ask("\(order.rawValue) \(id.text)", path: home.qrunnerSocket) {
        case .said("ok"): break
        case .said(let sentence): throw ProvisioningError(sentence, .noMessage)
        case .notRunning, .unheard, .silent: throw ProvisioningError("qrunner does not run or does not answer")
        }
    }
}
