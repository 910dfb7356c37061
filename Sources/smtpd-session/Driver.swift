// Does what the dialogue asks: reads and writes the connection, looks mailboxes up, fills the queue file, keeps the time.
import Control
import Mail
import Program
import Queue
import SMTP
import Unix

struct Driver: ~Copyable {
    private let station: Station
    private let settings: SessionSettings
    private var dialogue: Dialogue
    private var message: MessageWriter?
    /// Whose message that is, if the outgoing server takes it.
    private var submitter: [UInt8]?
    private let input: Int32
    private let output: Int32
    private let clientAddress: [UInt8]
    private let localAddress: String
    /// On the monotonic clock.
    private let deadline: Int

    /// `connection`: the socket that a template hands over; nil: standard input and output.
    init(_ station: Station, _ environment: Environment, connection: Int32?) {
        self.station = station
        settings = station.settings
        input = connection ?? Descriptor.standardInput
        output = connection ?? Descriptor.standardOutput
        let client = Driver.client(station, environment)
        clientAddress = client.address
        localAddress = environment["TCPLOCALIP"] ?? environment["TCP6LOCALIP"] ?? ""
        deadline = Clock.monotonicMilliseconds() + settings.sessionSeconds * 1000
        dialogue = Dialogue(hostname: settings.hostname, limits: settings.limits, client: client, hasSpokenFirst: IO.waiting(input) > 0)
        // One who does not read our replies must not hold us in a write. What an admin's terminal is, it stays.
        if !client.isByHand { Socket.setNonblocking(output) }
        // The last resort, should a client neither read nor go away.
        Process.endAfter(seconds: settings.sessionSeconds + 60)
    }

    /// Who is at the other end, by what the UCSPI server says.
    private static func client(_ station: Station, _ environment: Environment) -> Client {
        var client = Client()
        client.isByHand = environment["PROTO"] == nil
        client.address = Array((environment["TCPREMOTEIP"] ?? environment["TCP6REMOTEIP"] ?? "").utf8)
        client.tls = environment["SSL_PROTOCOL"].map { Array("\($0) \(environment["SSL_CIPHER"] ?? "")".utf8) }
        if station.role == .submission {
            client.submitter = Submission.submitter(environment, station.resolver, mailboxUids: station.settings.mailboxUids)
            client.mayAuthenticate = client.tls != nil || station.settings.takesPasswordsInTheClear
        }
        return client
    }

    consuming func run() throws -> Ending {
        do {
            while try step() {}
        } catch let error as SystemError {
            // The client is gone, or its line is: what it had not finished vanishes with us.
            Log.info("lost", .bytes("client", clientAddress), .text("reason", error.text))
        }
        // At once for the client, whoever else still holds the connection.
        Socket.shutDown(output)
        return .done
    }

    /// One step of the dialogue; false when it is over.
    private mutating func step() throws -> Bool {
        switch dialogue.next() {
        case .read:
            try send()
            return try receive()
        case .room(let size):
            // Beside the message itself, a little for its envelope and the file system's own needs.
            let space = try? Space(of: station.home.queue)
            dialogue.room(space.map { $0.freeOctets > UInt64(clamping: size) &+ 65536 && $0.freeInodes > 1 && !$0.isReadOnly } ?? true)
        case .lookUp(let address, let size):
            dialogue.answer(lookUp(address, size: size))
        case .lookUpSender(let address):
            dialogue.answer(lookUpSender(address))
        case .authenticate(let user, let password):
            let answer = Submission.authenticate(station.home, client: clientAddress, user: user, password: password, station.resolver)
            log(answer, user)
            dialogue.answer(answer)
        case .open(let envelope):
            if let fault = charge(envelope) { dialogue.opened(.failure(fault), seconds: 0); break }
            do throws(SystemError) {
                let writer = try station.entrance.begin(envelope)
                let id = writer.id
                message = consume writer
                submitter = envelope.submitter?.bytes
                dialogue.opened(.success(Array(id.text.utf8)), seconds: Clock.seconds())
            } catch { dialogue.opened(.failure(fault(error)), seconds: 0) }
        case .store:
            do throws(SystemError) {
                try message?.write(dialogue.content)
                dialogue.stored(.success(()))
            } catch { dialogue.stored(.failure(fault(error))) }
        case .commit:
            commit()
        case .discard:
            message = nil
        case .pause:
            try send()
            Process.sleep(milliseconds: min(settings.errorPauseSeconds * 1000, max(0, deadline - Clock.monotonicMilliseconds())))
        case .end:
            try send()
            return false
        case .endDraining:
            try send()
            drain()
            return false
        }
        return true
    }

    private mutating func commit() {
        guard let writer = message.take() else { return }
        let id = writer.id
        do throws(SystemError) {
            try station.entrance.commit(writer)
            if let submitter {
                Log.info("queued", .text("id", id.text), .bytes("client", clientAddress), .bytes("by", submitter))
            } else {
                Log.info("queued", .text("id", id.text), .bytes("client", clientAddress))
            }
            dialogue.committed(.success(Array(id.text.utf8)))
        } catch { dialogue.committed(.failure(fault(error))) }
    }

    private func fault(_ error: SystemError) -> StoreFault {
        Log.error("not-stored", .text("reason", error.text))
        return error.isNoSpace ? .noSpace : .other
    }

    // MARK: Mailboxes

    private func lookUp(_ address: Address, size: Int) -> MailboxAnswer {
        let answer = answer(address, size: size)
        switch answer {
        case .exists, .elsewhere: break
        default:
            Log.info("refused", .bytes("client", clientAddress), .bytes("to", address.bytes), .text("because", "\(answer)"))
        }
        return answer
    }

    private func answer(_ address: Address, size: Int) -> MailboxAnswer {
        do {
            guard case .mailboxes(let found) = try station.resolver.resolve(address, hostname: settings.hostname, localAddress: localAddress) else {
                if station.role == .inbound { return .unknown }
                return try station.resolver.isOurs(address, hostname: settings.hostname, localAddress: localAddress) ? .unknown : .elsewhere
            }
            for (_, mailbox) in found {
                if mailbox.state == .suspended { return .suspended }
                let space = try? Space(of: mailbox.volume)
                if let space, size > space.totalOctets { return .neverFits }
                // Room for what was declared, and for the names and blocks around it.
                if let space, space.freeOctets < UInt64(size) + 65536 || space.freeInodes < 2 { return .full }
            }
            return .exists(found.map(\.0))
        } catch {
            let reason = (error as? SystemError)?.text ?? (error as? ControlError)?.text ?? "\(error)"
            Log.error("lookup", .bytes("to", address.bytes), .text("reason", reason))
            return .trouble
        }
    }

    // MARK: The outgoing server

    private func lookUpSender(_ address: Address) -> SenderAnswer {
        do {
            if case .mailboxes = try station.resolver.resolve(address, hostname: settings.hostname, localAddress: localAddress) { return .exists }
            return .unknown
        } catch {
            Log.error("lookup", .bytes("from", address.bytes), .text("reason", (error as? SystemError)?.text ?? (error as? ControlError)?.text ?? "\(error)"))
            return .trouble
        }
    }

    private func log(_ answer: Authentication, _ user: [UInt8]) {
        switch answer {
        case .accepted(let mailbox): Log.info("authenticated", .bytes("client", clientAddress), .bytes("as", mailbox.bytes))
        default: Log.info("not-authenticated", .bytes("client", clientAddress), .bytes("user", user), .text("because", "\(answer)"))
        }
    }

    private func charge(_ envelope: Envelope) -> StoreFault? {
        guard let account = envelope.submitter else { return nil }
        let budgets = Budgets(directory: station.home.budgets, messagesPerHour: settings.messagesPerHour, recipientsPerHour: settings.recipientsPerHour)
        do throws(SystemError) {
            if try budgets.charge(account, recipients: envelope.recipients.count) == .taken { return nil }
            Log.info("over-budget", .bytes("mailbox", account.bytes), .count("recipients", envelope.recipients.count))
            return .overBudget
        } catch { return fault(error) }
    }

    // MARK: The connection

    private mutating func send() throws(SystemError) {
        guard !dialogue.replies.isEmpty else { return }
        try IO.writeAll(output, dialogue.replies, idleMilliseconds: min(settings.idleMilliseconds, max(0, deadline - Clock.monotonicMilliseconds())))
        dialogue.replies.removeAll(keepingCapacity: true)
    }

    /// More from the client; false when it has closed. Time that runs out is told to the dialogue.
    private mutating func receive() throws -> Bool {
        let left = deadline - Clock.monotonicMilliseconds()
        guard left > 0, try IO.wait(input, forWriting: false, milliseconds: min(left, settings.idleMilliseconds)) else {
            dialogue.timeIsOver(left <= settings.idleMilliseconds
                ? "421 4.4.2 This session has lasted too long; good-bye" : "421 4.4.2 I have waited long enough; good-bye")
            return true
        }
        let descriptor = input
        return try dialogue.input.fill { buffer in try IO.read(descriptor, into: buffer) }
    }

    /// Closing while the client still sends would reset the connection and take our last reply with it.
    private func drain() {
        Socket.endWriting(output)
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 65536, alignment: 16)
        defer { buffer.deallocate() }
        let end = Clock.monotonicMilliseconds() + 2000
        var left = 16 << 20
        while left > 0, case let pause = end - Clock.monotonicMilliseconds(), pause > 0,
              (try? IO.wait(input, forWriting: false, milliseconds: pause)) == true,
              let count = try? IO.read(input, into: buffer), count > 0 { left -= count }
    }
}
