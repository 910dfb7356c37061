// One request, from what its file says to its answer. Ends with 0 when there is an end to tell, 111 when it has to be tried again.
import Control
import Mail
import Program
import Provisioning
import Unix

final class Worker {
    /// After so many failures a creation is taken back, and all else given up.
    private static let mostFailures = 6

    private let home: Home
    private let id: String
    private let box: RequestBox

    init(_ home: Home, _ id: String) throws {
        self.home = home
        self.id = id
        box = try RequestBox(home)
    }

    func run() throws -> Ending {
        let before = box.answer(id)
        if before?.end != nil {
            // It was done, and a kill came before its file went.
            try box.forget(id)
            return .done
        }
        let request: Request
        do throws(ProvisioningError) { request = try box.request(id) } catch {
            Log.warning("refused", .text("request", id), .text("reason", error.text))
            try box.refuse(id, error.refusal ?? .badRequest, error.text)
            try box.forget(id)
            return .done
        }
        var state = RequestState(request)
        state.failures = before?.failures
        try box.answer(id, state)
        Log.info("taken-up", .text("request", id), .text("do", request.word), .text("owner", request.owner), .text("by", request.admin ?? request.owner))
        do {
            state.end = try carryOut(request, &state)
        } catch {
            let (reason, refusal) = Worker.words(error)
            if case .delete = request.wanted, refusal == .noMailbox, before != nil {
                // It was begun, and completed by whoever came before us.
                state.end = .done
            } else if let refusal { state.end = .refused(refusal, reason) } else {
                let count = (state.failures?.count ?? 0) + 1
                state.failures = (count, reason)
                Log.error("failed", .text("request", id), .text("do", request.word), .text("owner", request.owner), .count("try", count), .text("reason", reason))
                guard count >= Worker.mostFailures else {
                    try box.answer(id, state)
                    return .tryAgain
                }
                state.end = giveUp(request, reason)
            }
        }
        // The first page that is shown afterwards tells how the container is.
        if let engine = try? Engine.open(home) { try? Facts(home).noteContainers(engine) }
        try box.answer(id, state)
        if let end = state.end { log(request, end) }
        try box.forget(id)
        return .done
    }

    private func carryOut(_ request: Request, _ state: inout RequestState) throws -> RequestState.End {
        var progress = state
        defer { state = progress }
        let report: Making.Report = { step, phase in
            progress.note(step, phase)
            try? self.box.answer(self.id, progress)
        }
        switch request.wanted {
        case .create(let address, let octets):
            let wish = Wish(owner: request.owner, address: address, volumeOctets: octets, isAdmins: false)
            if case .waiting = try Making(home).run(wish, report: report) { return .waiting }
            return .done
        case .delete(let address):
            let person = try Person(home, request.owner)
            guard person.address.key == address.key else {
                throw ProvisioningError("\(request.owner)'s mailbox is not \(address.text)", .wrongAddress)
            }
            _ = try Unmaking(home).run(person.address, owner: request.owner, keepingMail: false, report: report)
            return .done
        case .check:
            let person = try Person(home, request.owner)
            if case .waiting? = try Making(home).resume(person.address, owner: request.owner) { return .waiting }
            return .done
        default:
            try Orders(home).carryOut(request, Person(home, request.owner))
            return .done
        }
    }

    /// A half-made mailbox is taken back. A half-unmade one stays so: the chores go on with it.
    private func giveUp(_ request: Request, _ reason: String) -> RequestState.End {
        guard case .create(let address, _) = request.wanted else { return .failed(reason) }
        do { _ = try Unmaking(home).run(address, owner: request.owner, keepingMail: false) } catch {
            return .failed("\(reason); and what had been made is still being removed (\(Worker.words(error).0))")
        }
        return .failed(reason)
    }

    static func words(_ error: any Error) -> (String, Refusal?) {
        switch error {
        case let error as ProvisioningError: (error.text, error.refusal)
        case let error as SystemError: (error.text, nil)
        case let error as ControlError: (error.text, nil)
        default: ("\(error)", nil)
        }
    }

    private func log(_ request: Request, _ end: RequestState.End) {
        switch end {
        case .done: Log.info("done", .text("request", id), .text("do", request.word), .text("owner", request.owner))
        case .waiting: Log.info("waiting", .text("request", id), .text("do", request.word), .text("owner", request.owner))
        case .refused(let refusal, let sentence):
            Log.info("refused", .text("request", id), .text("do", request.word), .text("owner", request.owner), .text("because", refusal.rawValue), .text("reason", sentence))
        case .failed(let sentence): Log.error("gave-up", .text("request", id), .text("do", request.word), .text("owner", request.owner), .text("reason", sentence))
        }
    }
}

/// Whose request it is: the one mailbox of that person, in whatever state.
struct Person {
    let address: Address
    let mailbox: Mailbox
    /// nil: it exists; else the directory its file is in.
    let inner: String?

    init(_ home: Home, _ owner: String) throws {
        guard let (listed, inner) = try MailboxRegister(home).mailbox(of: owner), let mailbox = listed.mailbox else {
            throw ProvisioningError("\(owner) has no mailbox", .noMailbox)
        }
        address = listed.address
        self.mailbox = mailbox
        self.inner = inner
    }
}
