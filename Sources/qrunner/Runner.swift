// The loop: what comes in, what is handed out, what came of it.
import Control
import Mail
import Program
import Queue
import Unix

final class Runner {
    let home: Home
    let store: QueueStore
    let entrance: QueueEntrance
    let mailboxes: Mailboxes
    var settings: RunnerSettings
    var intake: Intake
    var active: [QueueID: ActiveMessage] = [:]
    private let lock: Descriptor
    private var trigger: Trigger
    private let admin: AdminSocket?
    private let deliverer: Template
    private let signals: Signals
    private let isOnce: Bool
    private var isEnding = false
    /// By the Maildir's path.
    private var lanes: [String: Lane] = [:]
    /// Lanes with something to deliver and nobody delivering, in the order they became so: no lane waits for a slow one.
    private var ready: [Lane] = []
    private var batches: [UInt64: Batch] = [:]
    private var nextTag: UInt64 = 0
    private let startSeconds = Clock.seconds()
    private var settingsRead = Clock.monotonicMilliseconds()

    init(
        _ home: Home, _ store: consuming QueueStore, _ lock: consuming Descriptor, _ trigger: consuming Trigger,
        _ admin: AdminSocket?, _ deliverer: Template, _ signals: consuming Signals, _ settings: RunnerSettings, isOnce: Bool
    ) throws {
        intake = try Intake(store)
        entrance = try QueueEntrance(queue: home.queue, run: home.run)
        mailboxes = try Mailboxes(home.mailboxes)
        self.home = home
        self.store = store
        self.lock = lock
        self.trigger = trigger
        self.admin = admin
        self.deliverer = deliverer
        self.signals = signals
        self.settings = settings
        self.isOnce = isOnce
    }

    func run() throws -> Ending {
        Log.info("started", .text("queue", home.queue), .count("pid", Int(Process.id)))
        while true {
            if !isEnding { takeMessages() }
            if !isEnding { startBatches() }
            if batches.isEmpty {
                if isEnding { return .done }
                if isOnce && active.isEmpty && intake.isIdle { return .done }
            }
            try waitForEvents()
        }
    }

    private func waitForEvents() throws {
        var descriptors = [signals.descriptor.raw, deliverer.descriptor, trigger.descriptor]
        if let adminDescriptor = admin?.descriptor { descriptors.append(adminDescriptor) }
        readSettings()
        // The wall clock may jump: never sleep for longer than a minute on its word.
        guard let events = try IO.waitReadable(descriptors, milliseconds: min(intake.pauseMilliseconds ?? 60_000, 60_000)) else { return }
        if events[0] { takeSignals() }
        if events[1] { try takeReports() }
        if events[2] { takeTriggers() }
        if events.count > 3, events[3] { admin?.serve { obey($0) } }
    }

    /// Control files are read when they are used; here at most once a second. What makes no sense changes nothing.
    private func readSettings() {
        let now = Clock.monotonicMilliseconds()
        guard now - settingsRead >= 1000 else { return }
        settingsRead = now
        do { settings = try RunnerSettings(home) } catch { Log.warning("settings", .text("reason", (error as? Fatal)?.text ?? "\(error)")) }
    }

    private func takeSignals() {
        while let signal = signals.next() {
            switch signal {
            case Signals.alarm: intake.forceAll()
            case Signals.terminate, Signals.interrupt:
                isEnding = true
                Log.info("ending", .count("running", batches.count))
            default: _ = Process.reap()
            }
        }
    }

    private func takeTriggers() {
        let (ids, mayHaveMissed) = trigger.read()
        if mayHaveMissed { intake.scanNew() }
        for id in ids {
            if active.count >= Intake.limit || isEnding { intake.scanNew(); return }
            take(id, .new)
        }
    }

    private func takeMessages() {
        while active.count < Intake.limit, let (id, place) = intake.next(store) { take(id, place) }
    }

    // MARK: Handing out

    /// Opens a message and puts each waiting recipient into its mailbox' lane.
    func take(_ id: QueueID, _ place: QueueStore.Place) {
        guard active[id] == nil else { return }
        let message: ActiveMessage
        do throws(SystemError) {
            guard let open = try store.open(id, place) else {
                Log.error("malformed", .text("id", id.text), .text("moved", "hold"))
                try store.move(id, from: place, to: .hold)
                return
            }
            message = ActiveMessage(open)
        } catch {
            // A name told twice, or taken away by the admin meanwhile, is no error.
            guard !error.isMissing else { return }
            Log.error("unreadable", .text("id", id.text), .text("reason", error.text))
            intake.lookAgain(at: place)
            return
        }
        active[id] = message
        intake.entered(place)
        let waiting = message.open.envelope.recipients.filter(\.isWaiting)
        message.outstanding = waiting.count
        // Settled only when every recipient has been looked at: an outcome may be there at once.
        message.outstanding += 1
        for recipient in waiting { route(Item(message: message, recipient: recipient)) }
        message.outstanding -= 1
        finishIfSettled(message)
    }

    private func route(_ item: Item) {
        let address = item.recipient.address
        do throws(SystemError) {
            if let mailbox = try mailboxes.find(address) {
                if mailbox.state == .suspended { settle(item, .tryAgain, "4.2.1", "The mailbox is suspended"); return }
                let lane = lanes[mailbox.maildir].flatMap { $0.mailbox == mailbox ? $0 : nil } ?? Lane(mailbox)
                lanes[mailbox.maildir] = lane
                lane.waiting.append(item)
                if lane.waiting.count == 1, !lane.isRunning { ready.append(lane) }
                return
            }
            let isHosted = try mailboxes.hosts(domain: address.domain)
            if isHosted || address.domain == settings.hostname {
                settle(item, .failed, "5.1.1", "There is no such mailbox here any more")
            } else {
                settle(item, .tryAgain, "4.3.5", "This host has no way to send mail to other hosts yet")
            }
        } catch { settle(item, .tryAgain, "4.3.0", error.text) }
    }

    private func startBatches() {
        while batches.count < settings.deliveries, !ready.isEmpty {
            let lane = ready.removeFirst()
            start(lane, lane.takeBatch())
        }
    }

    private func start(_ lane: Lane, _ items: [Item]) {
        var arguments = ["\(lane.mailbox.uid):\(lane.mailbox.gid)", lane.mailbox.maildir].map { Array($0.utf8) } + [settings.hostname]
        // Kept until the request is sent: what is passed on is copied by the kernel then.
        var opened: [OwnedDescriptor] = []
        do throws(SystemError) {
            let pipe = try Descriptor.pipe()
            var descriptors = [pipe.second.raw]
            for item in items {
                let message = item.message
                // The same name at every try, by which a delivery that was made and not recorded is recognised.
                arguments.append(Array("\(message.arrival).Q\(message.id.text)".utf8))
                arguments.append(Array((message.mayBeDelivered(runnerStarted: startSeconds) ? "again" : "").utf8))
                arguments.append(message.open.envelope.sender?.bytes ?? [])
                arguments.append(item.recipient.address.bytes)
                // A file's position is shared by all who hold it: several recipients need several openings.
                var file = message.open.file.raw
                if message.open.envelope.recipients.count > 1 {
                    let own = OwnedDescriptor(try store.root.open(message.open.place.text + "/" + message.id.text))
                    file = own.descriptor.raw
                    opened.append(own)
                }
                try IO.seek(file, to: message.open.messageOffset)
                descriptors.append(file)
            }
            nextTag += 1
            try deliverer.start(tag: nextTag, arguments: arguments, descriptors: descriptors)
            lane.isRunning = true
            let report = OwnedDescriptor(pipe.takeFirst())
            batches[nextTag] = Batch(lane: lane, items: items, report: report, startedMilliseconds: Clock.monotonicMilliseconds())
        } catch {
            for item in items { settle(item, .tryAgain, "4.3.0", error.text) }
            rest(lane)
        }
    }

    // MARK: What came of it

    private func takeReports() throws {
        while let report = deliverer.next() {
            guard let batch = batches.removeValue(forKey: report.tag) else { continue }
            take(batch, status: report.status)
            batch.lane.isRunning = false
            rest(batch.lane)
        }
        if deliverer.isGone { throw Fatal("maildir-deliver's template has ended") }
    }

    /// A lane that nobody delivers for: back in line, or forgotten.
    private func rest(_ lane: Lane) {
        if !lane.waiting.isEmpty { ready.append(lane) } else if lanes[lane.mailbox.maildir] === lane { lanes[lane.mailbox.maildir] = nil }
    }

    private func take(_ batch: Batch, status: Int32) {
        let bytes = (try? readAll(batch.report.descriptor.raw)) ?? []
        let lines = bytes.split(separator: 10)
        for (index, item) in batch.items.enumerated() {
            guard index < lines.count, let kind = lines[index].first else {
                // It died before it could say: perhaps delivered, so perhaps a duplicate, never a loss.
                let why = status == Template.couldNotFork ? "no process could be had" : "the delivery ended with \(status)"
                settle(item, .tryAgain, "4.3.0", why)
                continue
            }
            let words = lines[index].dropFirst(2).split(separator: 32, maxSplits: 1).map { String(decoding: $0, as: UTF8.self) }
            switch kind {
            case 0x4b: settle(item, .delivered, "2.0.0", "")
            case 0x44: settle(item, .failed, words.first ?? "5.0.0", words.last ?? "")
            default: settle(item, .tryAgain, words.first ?? "4.0.0", words.last ?? "")
            }
        }
    }

    private func readAll(_ raw: Int32) throws(SystemError) -> [UInt8] {
        var result: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 8192)
        while true {
            var count = 0
            var failure: SystemError?
            buffer.withUnsafeMutableBytes { span in
                do throws(SystemError) { count = try IO.read(raw, into: span) } catch { failure = error }
            }
            if let failure { throw failure }
            if count == 0 { return result }
            result += buffer[..<count]
        }
    }
}
