// Takes requests up and has each worked on by a process of its own, some at once, the others in their turn; and has the chores done.
// It does no work itself, so that it has nothing to wait for but signals, files and the clock.
import Control
import Program
import Provisioning
import Unix

struct Foreman: ~Copyable {
    private enum Work: Hashable {
        case request(String)
        case chores
    }

    /// How long after its first, second, ... failure a request is tried again.
    private static let pausesSeconds = [2, 5, 15, 30, 60]
    private static let choresSeconds = 60

    private let home: Home
    private let workers: Int
    private let box: RequestBox
    private let watch: Watch
    private let signals: Signals
    private var running: [Int32: Work] = [:]
    /// When a request that failed is due again, in milliseconds of the monotonic clock.
    private var due: [String: Int] = [:]
    private var failures: [String: Int] = [:]
    private var choresDue = 0
    private var isFirst = true

    init(_ home: Home, workers: Int) throws {
        let box = try RequestBox(home), watch = try Watch(box.new)
        let signals = try Signals([Signals.childEnded, Signals.terminate, Signals.interrupt])
        self.home = home
        self.workers = workers
        self.box = box
        self.watch = watch
        self.signals = signals
    }

    mutating func run(once isOnce: Bool) throws -> Ending {
        var isEnding = false
        while true {
            if !isEnding {
                try box.takeUp()
                try start(once: isOnce)
            }
            if running.isEmpty, isEnding { return .done }
            if isOnce, running.isEmpty { return try box.undone().isEmpty ? .done : .tryAgain }
            _ = try IO.waitReadable([signals.descriptor.raw, watch.descriptor.raw], milliseconds: isEnding ? nil : pause())
            watch.clear()
            while let signal = signals.next() {
                // What is at work goes on to its end; what is not done is done after the next start.
                if signal != Signals.childEnded { isEnding = true }
            }
            while let (pid, status) = Process.reap() { ended(pid, status) }
        }
    }

    /// Until something is due.
    private func pause() -> Int {
        let now = Clock.monotonicMilliseconds()
        let next = due.values.filter { $0 > now }.min() ?? choresDue
        return max(0, min(next, choresDue) - now)
    }

    private mutating func start(once isOnce: Bool) throws {
        let now = Clock.monotonicMilliseconds()
        if now >= choresDue, !running.values.contains(.chores) {
            let isFirst = isFirst
            self.isFirst = false
            choresDue = now + Foreman.choresSeconds * 1000
            try fork(.chores) { home in try Chores(home).run(isFirst: isFirst) }
        }
        for id in try box.undone() where running.count < workers + 1 {
            if running.values.contains(.request(id)) { continue }
            if let due = due[id], due > now || isOnce { continue }
            try fork(.request(id)) { home in try Worker(home, id).run() }
        }
    }

    private mutating func fork(_ work: Work, _ body: (Home) throws -> Ending) throws {
        let pid = try Process.fork()
        if pid != 0 { running[pid] = work; return }
        Signals.reset()
        do { Process.exit(try body(home).rawValue) } catch {
            Log.error("broken", .text("work", "\(work)"), .text("reason", (error as? SystemError)?.text ?? (error as? ProvisioningError)?.text ?? (error as? ControlError)?.text ?? "\(error)"))
            Process.exit(Ending.tryAgain.rawValue)
        }
    }

    private mutating func ended(_ pid: Int32, _ status: Int32) {
        guard case .request(let id)? = running.removeValue(forKey: pid) else { return }
        if status == 0 {
            (due[id], failures[id]) = (nil, nil)
            return
        }
        let count = failures[id, default: 0]
        failures[id] = count + 1
        due[id] = Clock.monotonicMilliseconds() + 1000 * Foreman.pausesSeconds[min(count, Foreman.pausesSeconds.count - 1)]
        if status != Ending.tryAgain.rawValue { Log.warning("worker-ended", .text("request", id), .count("status", Int(status))) }
    }
}
