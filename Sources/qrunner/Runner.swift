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
    private var held: Holdings
    private let outgoing: Outgoing
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

    init(_ home: Home, _ store: consuming QueueStore, _ held: consuming Holdings, _ outgoing: Outgoing, _ settings: RunnerSettings, isOnce: Bool) throws {
        intake = try Intake(store)
        entrance = try QueueEntrance(queue: home.queue, run: home.run, mayLeave: true)
        mailboxes = try Mailboxes(home.mailboxes)
        self.home = home
        self.store = store
        self.held = held
        self.outgoing = outgoing
        self.settings = settings
        self.isOnce = isOnce
    }

    func run() throws -> Ending {
        Log.info("started", .text("queue", home.queue), .count("pid", Int(Process.id)))
        while true {
            if !isEnding { takeMessages() }
            if !isEnding {
                startBatches()
                outgoing.start(self)
            }
            if !staffed.contains(where: \.isBusy), !outgoing.isBusy {
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
        // The wall clock may jump: never sleep for longer than a minute on its word.
        // With every place taken, what is due next waits for one of them.
        let due = active.count < Intake.limit ? intake.pauseMilliseconds ?? 60_000 : 60_000
        let pause = min(due, 60_000, dismissIdle() ?? 60_000, outgoing.dismissIdle() ?? 60_000)
        let templates = [held.deliverer] + outgoing.templates
        let fixed = [held.signals.descriptor.raw, held.trigger.descriptor, held.admin?.descriptor ?? -1] + templates.map(\.descriptor)
        let lanes = staffed
        let away = outgoing.descriptors
        let descriptors = fixed + lanes.map { $0.worker?.descriptor ?? -1 } + away
        let events = try IO.waitReadable(descriptors, milliseconds: pause)
        // After the wait: what is decided next is decided by the settings as they are now.
        readSettings()
        guard let events else { return }
        for (lane, isReady) in zip(lanes, events[fixed.count...]) where isReady { takeReport(lane) }
        outgoing.takeReports(Set(zip(away, events.suffix(away.count)).filter(\.1).map(\.0)), self)
        if events[0] { takeSignals() }
        if events[1] { takeTriggers() }
        if events[2] { held.admin?.serve { obey($0) } }
        for template in templates { try watchTemplate(template) }
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
        while let signal = held.signals.next() {
            switch signal {
            case Signals.alarm: tryAll()
            case Signals.terminate, Signals.interrupt:
                isEnding = true
                Log.info("ending", .count("running", staffed.count(where: \.isBusy)))
            default: _ = Process.reap()
            }
        }
    }

    /// Everything that waits, now; destinations that were down too.
    func tryAll() {
        intake.forceAll()
        outgoing.tryAll()
    }

    private func takeTriggers() {
        let (ids, mayHaveMissed) = held.trigger.read()
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
        var away: [Route: [Item]] = [:]
        for (number, recipient) in message.open.envelope.recipients.enumerated() where recipient.isWaiting {
            message.outstanding += 1
            let item = Item(message: message, recipient: recipient, number: number)
            if let route = route(item) { away[route, default: []].append(item) }
        }
        if !away.isEmpty { outgoing.take(message, away, self) }
        message.outstanding -= 1
        finishIfSettled(message)
    }

    /// Puts it into its mailbox' lane, or tells the way it has to go to another host. nil: it is taken care of.
    private func route(_ item: Item) -> Route? {
        let address = item.recipient.address
        let domain = String(decoding: address.domain, as: UTF8.self)
        do throws(SystemError) {
            if item.message.mayLeave, let route = settings.routes.exact(domain) { return route }
            if let mailbox = try mailboxes.find(address) {
                deliver(item, to: mailbox)
                return nil
            }
            let isOurs = try mailboxes.hosts(domain: address.domain) || address.domain.map(\.lowercased) == settings.hostname.map(\.lowercased)
            if item.message.mayLeave, !isOurs { return settings.routes.route(domain) }
            settle(item, .failed, "5.1.1", Array("There is no such mailbox here any more".utf8))
        } catch { settle(item, .tryAgain, "4.3.0", Array(error.text.utf8)) }
        return nil
    }

    private func deliver(_ item: Item, to mailbox: Mailbox) {
        if mailbox.state == .suspended { settle(item, .tryAgain, "4.2.1", Array("The mailbox is suspended".utf8)); return }
        let lane = lanes[mailbox.maildir].flatMap { $0.mailbox == mailbox ? $0 : nil } ?? Lane(mailbox)
        lanes[mailbox.maildir] = lane
        guard lane.waiting.count < Lane.waitingLimit else {
            // One mailbox that hangs must not take every place: the rest stays on disk until this lane is empty.
            lane.leftBehind.insert(item.message.open.place)
            settle(item, .postponed, "", [])
            return
        }
        lane.waiting.append(item)
        if lane.waiting.count == 1, !lane.isBusy { ready.append(lane) }
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
                lane.worker = try Worker(lane, hostname: settings.hostname, from: held.deliverer, tag: nextTag)
                staffed.append(lane)
            }
            try lane.worker!.deliver(items, from: store, runnerStarted: startSeconds)
        } catch {
            if lane.worker != nil { dismiss(lane) }
            for item in items { settle(item, .tryAgain, "4.3.0", Array(error.text.utf8)) }
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
            for item in items { settle(item, .tryAgain, "4.3.0", Array("the delivery ended before it could report".utf8)) }
            rest(lane)
            return
        }
        for (item, line) in outcomes {
            let words = (line ?? []).dropFirst(2).split(separator: 32, maxSplits: 1).map { String(decoding: $0, as: UTF8.self) }
            switch line?.first {
            case 0x4b: settle(item, .delivered, "2.0.0", [])
            case 0x44: settle(item, .failed, words.first ?? "5.0.0", Array((words.last ?? "").utf8))
            default: settle(item, .tryAgain, words.first ?? "4.0.0", Array((words.last ?? "").utf8))
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

    private func watchTemplate(_ template: Template) throws {
        while let report = template.next() {
            if report.status == Template.couldNotFork { Log.error("no-process", .text("reason", "no process could be forked")) }
            else if report.status != 0 { Log.warning("delivery-ended", .count("status", Int(report.status))) }
        }
        if template.isGone { throw Fatal("a template that deliveries come from has ended") }
    }
}
