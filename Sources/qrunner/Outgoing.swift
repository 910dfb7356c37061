// Messages for other hosts: signed, put in line by destination, handed to relays, and what came of it.
import Control
import Mail
import Program
import Queue
import Unix

final class Outgoing {
    private let relays: Template
    private let signer: Signer
    private var lanes: [Route: RelayLane] = [:]
    /// Lanes with something to send, in the order they became so: no destination waits for a slow one.
    private var ready: [RelayLane] = []
    /// Lanes with connections.
    private var connected: [RelayLane] = []
    private var down = DownDestinations()
    private var nextTag: UInt64 = 0

    init(relays: Template, signer: Signer) {
        self.relays = relays
        self.signer = signer
    }

    /// All the ends to watch, and whose they are.
    var descriptors: [Int32] { connected.flatMap { $0.connections.map(\.descriptor) } + [signer.descriptor] }
    var templates: [Template] { [relays, signer.template] }

    var isBusy: Bool { signer.isBusy || connected.contains { $0.connections.contains { $0.transaction != nil } } }

    /// Without those of silent destinations, unless there are very many of these.
    private func connections(_ runner: Runner, _ now: Int) -> Int {
        let silent = min(connected.count { $0.isSilent(now) }, 2 * runner.settings.connections)
        return connected.reduce(0) { $0 + $1.connections.count } - silent
    }

    func tryAll() { down.forget() }

    // MARK: In

    /// The recipients of one message that go to other hosts, by their ways.
    func take(_ message: ActiveMessage, _ items: [Route: [Item]], _ runner: Runner) {
        if runner.settings.signs, message.signature == nil {
            signer.sign(message, runner) { [unowned self] outcome in
                switch outcome {
                case .success(let signature):
                    message.signature = signature
                    queue(message, items, runner)
                case .failure(let refusal):
                    for item in items.values.joined() { runner.settle(item, .tryAgain, "4.7.0", Array(refusal.text.utf8)) }
                }
            }
        } else { queue(message, items, runner) }
    }

    private func queue(_ message: ActiveMessage, _ items: [Route: [Item]], _ runner: Runner) {
        for (route, items) in items {
            if let state = down.current(route) {
                message.notBefore = max(message.notBefore, state.until)
                for item in items { settle(item, state.report, runner) }
                continue
            }
            let lane = lanes[route] ?? RelayLane(route)
            lanes[route] = lane
            guard lane.waiting.count < (lane.isProven || doubtful < Intake.limit / 2 ? RelayLane.waitingLimit : RelayLane.crowdedLimit) else {
                lane.leftBehind.insert(message.open.place)
                for item in items { runner.settle(item, .postponed, "", []) }
                continue
            }
            for start in stride(from: 0, to: items.count, by: Transaction.recipientLimit) {
                lane.waiting.append(Transaction(message: message, items: Array(items[start..<min(start + Transaction.recipientLimit, items.count)])))
            }
            if !ready.contains(where: { $0 === lane }) { ready.append(lane) }
        }
    }

    /// Messages that wait for destinations of which nobody knows yet whether they answer: they must not take the places of others.
    private var doubtful: Int { lanes.values.reduce(0) { $0 + ($1.isProven ? 0 : $1.waiting.count) } }

    // MARK: Out

    /// Hands what waits to connections that are open, and opens more as far as they may be.
    func start(_ runner: Runner) {
        signer.start(runner)
        let now = Clock.monotonicMilliseconds()
        // Who has shown to answer comes before who may hang.
        for lane in ready.filter(\.isProven) + ready.filter({ !$0.isProven }) {
            while !lane.waiting.isEmpty {
                if let relay = lane.idle { send(lane, relay, runner); continue }
                // Until one has answered, nobody knows whether there is anybody.
                guard lane.isProven ? lane.connections.count < runner.settings.connectionsPerDestination : lane.connections.isEmpty else { break }
                if !lane.isProven, connected.count(where: { !$0.isProven && !$0.isSilent(now) }) >= max(1, runner.settings.connections / 2) { break }
                guard connections(runner, now) < runner.settings.connections || dismissOne(runner) else { return }
                guard open(lane, runner) else { break }
            }
        }
        ready.removeAll { $0.waiting.isEmpty }
    }

    private func open(_ lane: RelayLane, _ runner: Runner) -> Bool {
        nextTag += 1
        do throws(SystemError) {
            if lane.connections.isEmpty { lane.triedSince = Clock.monotonicMilliseconds() }
            lane.connections.append(try Relay(lane.route, from: relays, tag: nextTag))
            if !connected.contains(where: { $0 === lane }) { connected.append(lane) }
            return true
        } catch {
            Log.error("no-process", .text("reason", error.text))
            if lane.connections.isEmpty { settleAll(lane, .tryAgain, "4.3.0", Array(error.text.utf8), runner) }
            return false
        }
    }

    private func send(_ lane: RelayLane, _ relay: Relay, _ runner: Runner) {
        let transaction = lane.waiting.removeFirst()
        do throws(SystemError) { try relay.send(transaction, from: runner.store) } catch {
            // It ended by itself just now: nothing was sent, and another takes its place.
            if error.isBrokenPipe {
                lane.waiting.insert(transaction, at: 0)
            } else {
                for item in transaction.items { runner.settle(item, .tryAgain, "4.3.0", Array(error.text.utf8)) }
            }
            close(lane, relay)
        }
    }

    private func close(_ lane: RelayLane, _ relay: Relay) {
        lane.connections.removeAll { $0 === relay }
        guard lane.connections.isEmpty else { return }
        connected.removeAll { $0 === lane }
        if lane.waiting.isEmpty, lane.leftBehind.isEmpty { lanes[lane.route] = nil }
    }

    /// Closes the connection that has been idle for longest, to make room. False: none is.
    private func dismissOne(_ runner: Runner) -> Bool {
        let idle = connected.filter { $0.waiting.isEmpty }.flatMap { lane in lane.connections.filter { $0.transaction == nil }.map { (lane, $0) } }
        guard let (lane, relay) = idle.min(by: { $0.1.idleSince < $1.1.idleSince }) else { return false }
        close(lane, relay)
        return true
    }

    /// Closes connections that have been idle for long enough; milliseconds until the next has, or until one that has not answered makes
    /// room for a destination that waits to be tried.
    func dismissIdle() -> Int? {
        let now = Clock.monotonicMilliseconds()
        var next = ready.isEmpty ? nil : connected.filter { !$0.isProven && !$0.isSilent(now) }.map { $0.triedSince + RelayLane.patienceMilliseconds - now }.min()
        for lane in connected where lane.waiting.isEmpty {
            for relay in lane.connections where relay.transaction == nil {
                let left = relay.idleSince + Relay.lingerMilliseconds - now
                if left <= 0 { close(lane, relay) } else { next = min(next ?? left, left) }
            }
        }
        return next
    }

    // MARK: What came of it

    /// `events` belong to `descriptors` as they were.
    func takeReports(_ ready: Set<Int32>, _ runner: Runner) {
        if ready.contains(signer.descriptor) { signer.takeAnswer(runner) }
        for lane in connected {
            for relay in lane.connections where ready.contains(relay.descriptor) { takeReport(lane, relay, runner) }
        }
    }

    private func takeReport(_ lane: RelayLane, _ relay: Relay, _ runner: Runner) {
        guard let transaction = relay.transaction else { close(lane, relay); return }
        guard let reports = relay.report() else {
            close(lane, relay)
            // It died before it could say: perhaps the peer has taken the message.
            for item in transaction.items { runner.settle(item, .tryAgain, "4.3.0", Array("the relay ended before it could report".utf8)) }
            again(lane, runner)
            return
        }
        let general = reports.lazy.compactMap { $0 }.first { $0.isOfDestination }
        for (item, report) in zip(transaction.items, reports) {
            if let report {
                settle(item, report, runner)
            } else {
                runner.settle(item, .tryAgain, "4.3.0", Array("the relay gave no report".utf8))
            }
        }
        if let general {
            if general.outcome == .tryAgain { down.note(lane.route, general) }
            let until = down.current(lane.route)?.until ?? 0
            let waiting = lane.waiting
            lane.waiting = []
            for transaction in waiting {
                transaction.message.notBefore = max(transaction.message.notBefore, until)
                for item in transaction.items { settle(item, general, runner) }
            }
            close(lane, relay)
        } else {
            lane.isProven = true
            down.isUp(lane.route)
        }
        again(lane, runner)
    }

    private func settle(_ item: Item, _ report: RelayReport, _ runner: Runner) {
        runner.settle(item, report.outcome, report.status, report.text, host: report.host)
    }

    private func settleAll(_ lane: RelayLane, _ outcome: Outcome, _ status: String, _ text: [UInt8], _ runner: Runner) {
        let waiting = lane.waiting
        lane.waiting = []
        for transaction in waiting { for item in transaction.items { runner.settle(item, outcome, status, text) } }
    }

    /// A lane that has room again looks for what was left on the disk.
    private func again(_ lane: RelayLane, _ runner: Runner) {
        if lane.waiting.isEmpty, !lane.leftBehind.isEmpty {
            runner.intake.look(at: lane.leftBehind)
            lane.leftBehind = []
        }
        if !lane.waiting.isEmpty, !ready.contains(where: { $0 === lane }) { ready.append(lane) }
        if lane.waiting.isEmpty, lane.connections.isEmpty { lanes[lane.route] = nil }
    }
}
