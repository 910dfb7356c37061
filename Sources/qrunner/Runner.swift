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
    /// Lanes that have a process.
    private var staffed: [Lane] = []
    private var nextTag: UInt64 = 0
    /// What was last said about settings that make no sense: once is enough.
    private var complaint: String?
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
            if !staffed.contains(where: \.isBusy) {
                if isEnding { return .done }
                if isOnce && active.isEmpty {
                    // A bounce we have just made is told of like any other message.
                    takeTriggers()
                    if active.isEmpty && intake.isIdle { return .done }
                    continue
                }
            }
            try waitForEvents()
        }
    }

    private func waitForEvents() throws {
        var descriptors = [signals.descriptor.raw, deliverer.descriptor, trigger.descriptor]
        if let adminDescriptor = admin?.descriptor { descriptors.append(adminDescriptor) }
        readSettings()
        let lanes = staffed
        descriptors += lanes.map { $0.worker?.descriptor ?? -1 }
        // The wall clock may jump: never sleep for longer than a minute on its word.
        // With every place taken, what is due next waits for one of them.
        let due = active.count < Intake.limit ? intake.pauseMilliseconds ?? 60_000 : 60_000
        let pause = min(due, 60_000, dismissIdle() ?? 60_000)
        guard let events = try IO.waitReadable(descriptors, milliseconds: pause) else { return }
        for (lane, isReady) in zip(lanes, events.suffix(lanes.count)) where isReady { takeReport(lane) }
        if events[0] { takeSignals() }
        if events[1] { try watchTemplate() }
        if events[2] { takeTriggers() }
        if admin != nil, events[3] { admin?.serve { obey($0) } }
    }

    /// Control files are read when they are used; here at most once a second. What makes no sense changes nothing.
    private func readSettings() {
        let now = Clock.monotonicMilliseconds()
        guard now - settingsRead >= 1000 else { return }
        settingsRead = now
        do {
            settings = try RunnerSettings(home)
            complaint = nil
        } catch {
            let text = (error as? Fatal)?.text ?? "\(error)"
            if text != complaint { Log.warning("settings", .text("reason", text)) }
            complaint = text
        }
    }

    private func takeSignals() {
        while let signal = signals.next() {
            switch signal {
            case Signals.alarm: intake.forceAll()
            case Signals.terminate, Signals.interrupt:
                isEnding = true
                Log.info("ending", .count("running", staffed.count(where: \.isBusy)))
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
        // Settled only when every recipient has been looked at: an outcome may be there at once.
        message.outstanding = 1
        for (number, recipient) in message.open.envelope.recipients.enumerated() where recipient.isWaiting {
            message.outstanding += 1
            route(Item(message: message, recipient: recipient, number: number))
        }
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
                guard lane.waiting.count < Lane.waitingLimit else {
                    // One mailbox that hangs must not take every place: the rest stays on disk until this lane is empty.
                    lane.leftBehind.insert(item.message.open.place)
                    settle(item, .postponed, "", "")
                    return
                }
                lane.waiting.append(item)
                if lane.waiting.count == 1, !lane.isBusy { ready.append(lane) }
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
        while let place = ready.firstIndex(where: { $0.worker != nil || staffed.count < settings.deliveries || idle != nil }) {
            let lane = ready.remove(at: place)
            // A process that only waits makes room for one that is needed.
            if lane.worker == nil, staffed.count >= settings.deliveries, let idle {
                dismiss(idle)
                rest(idle)
            }
            start(lane)
        }
    }

    /// The lane whose process has waited longest with nothing to do.
    private var idle: Lane? {
        staffed.filter { !$0.isBusy && $0.waiting.isEmpty }.min { $0.worker!.idleSince < $1.worker!.idleSince }
    }

    private func start(_ lane: Lane) {
        let items = lane.takeBatch()
        do throws(SystemError) {
            if lane.worker == nil {
                nextTag += 1
                lane.worker = try Worker(lane, hostname: settings.hostname, from: deliverer, tag: nextTag)
                staffed.append(lane)
            }
            try lane.worker!.deliver(items, from: store, runnerStarted: startSeconds)
        } catch {
            if lane.worker != nil { dismiss(lane) }
            for item in items { settle(item, .tryAgain, "4.3.0", error.text) }
            rest(lane)
        }
    }

    // MARK: What came of it

    private func takeReport(_ lane: Lane) {
        guard let worker = lane.worker else { return }
        guard let outcomes = worker.report() else {
            // It died before it could say: perhaps delivered; the next try looks for the name before it makes a second copy.
            let items = worker.items
            dismiss(lane)
            for item in items { settle(item, .tryAgain, "4.3.0", "the delivery ended before it could report") }
            rest(lane)
            return
        }
        for (item, line) in outcomes {
            let words = (line ?? []).dropFirst(2).split(separator: 32, maxSplits: 1).map { String(decoding: $0, as: UTF8.self) }
            switch line?.first {
            case 0x4b: settle(item, .delivered, "2.0.0", "")
            case 0x44: settle(item, .failed, words.first ?? "5.0.0", words.last ?? "")
            default: settle(item, .tryAgain, words.first ?? "4.0.0", words.last ?? "")
            }
        }
        rest(lane)
    }

    /// A lane whose batch is over: back in line, waiting a moment for more, or forgotten.
    private func rest(_ lane: Lane) {
        if lane.waiting.isEmpty, !lane.leftBehind.isEmpty {
            intake.look(at: lane.leftBehind)
            lane.leftBehind = []
        }
        if !lane.waiting.isEmpty {
            ready.append(lane)
        } else if lane.worker == nil, lanes[lane.mailbox.maildir] === lane {
            lanes[lane.mailbox.maildir] = nil
        }
    }

    /// Sends processes home that have waited long enough; milliseconds until the next has.
    private func dismissIdle() -> Int? {
        let now = Clock.monotonicMilliseconds()
        var next: Int?
        for lane in staffed where !lane.isBusy && lane.waiting.isEmpty {
            let left = lane.worker!.idleSince + Worker.lingerMilliseconds - now
            if left <= 0 { dismiss(lane); rest(lane) } else { next = min(next ?? left, left) }
        }
        return next
    }

    private func dismiss(_ lane: Lane) {
        lane.worker = nil
        staffed.removeAll { $0 === lane }
    }

    private func watchTemplate() throws {
        while let report = deliverer.next() {
            if report.status == Template.couldNotFork { Log.error("no-process", .text("reason", "no process could be forked")) }
            else if report.status != 0 { Log.warning("delivery-ended", .count("status", Int(report.status))) }
        }
        if deliverer.isGone { throw Fatal("maildir-deliver's template has ended") }
    }
}
