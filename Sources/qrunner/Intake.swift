// Where the next message to work on comes from. At most `limit` are in work; all others wait as names in directories,
// so a queue of a million costs no more memory than one of a thousand.
import Program
import Queue
import Unix

struct Intake {
    /// Messages in work at once. Each is an open file.
    static let limit = 2000

    /// Names may wait in queue/new that nobody told us of: at the start, after an overflow, or when we had no room.
    private(set) var mustScanNew = true
    private var lastScan = Clock.monotonicMilliseconds()
    /// A look through many names is dear: the next comes the later the more there were.
    private var scanned = 0
    private var scanPause: Int { scanned / 5 }
    private static let scanMilliseconds = 3_600_000
    /// Minutes for which messages wait, in order.
    private var minutes: [Int]
    /// Places with messages that could not be worked on, and when to look there again (seconds since 1970).
    private var troubled: (places: Set<QueueStore.Place>, time: Int)?
    private var listing: (place: QueueStore.Place, names: Listing)?
    /// Minutes whose messages are to be tried whether or not their time has come.
    private var forced: [Int] = []
    /// Messages in work, by the minute they came from: a minute's directory goes with its last one.
    private var inWork: [Int: Int] = [:]

    init(_ store: borrowing QueueStore) throws(SystemError) { minutes = try store.minutes() }

    private var mayScan: Bool { Clock.monotonicMilliseconds() - lastScan >= scanPause }

    var isIdle: Bool { !mustScanNew && listing == nil && forced.isEmpty && (minutes.first.map { $0 * 60 > Clock.seconds() } ?? true) }

    /// Milliseconds until something is due; nil: nothing waits.
    var pauseMilliseconds: Int? {
        let next = min(minutes.first.map { $0 * 60 } ?? .max, troubled?.time ?? .max)
        let due = next == .max ? nil : max(0, next - Clock.seconds()) * 1000
        guard mustScanNew else { return due }
        return min(due ?? .max, max(0, lastScan + scanPause - Clock.monotonicMilliseconds()))
    }

    mutating func scanNew() { mustScanNew = true }

    /// For messages that could not be opened or moved on: looked at again in a minute, not at once and for ever.
    mutating func lookAgain(at place: QueueStore.Place) {
        troubled = ((troubled?.places ?? []).union([place]), troubled?.time ?? Clock.seconds() + 60)
    }

    /// Everything now: what is due later, what nobody told us of, what gave trouble.
    mutating func forceAll() {
        look(at: troubled?.places ?? [])
        troubled = nil
        forced = minutes
        mustScanNew = true
    }

    /// Looks through these places at the next opportunity.
    mutating func look(at places: Set<QueueStore.Place>) {
        for place in places {
            if case .later(let minute) = place { add(minute: minute) } else { mustScanNew = true }
        }
    }

    mutating func add(minute: Int) {
        let place = minutes.firstIndex { $0 >= minute } ?? minutes.endIndex
        if place == minutes.endIndex || minutes[place] != minute { minutes.insert(minute, at: place) }
    }

    /// The next message to look at; nil when there is none now.
    mutating func next(_ store: borrowing QueueStore) -> (QueueID, QueueStore.Place)? {
        while true {
            if let (place, names) = listing {
                while let name = names.next() {
                    if place == .new { scanned += 1 }
                    if let id = QueueID(name) { return (id, place) }
                }
                listing = nil
                if case .later(let minute) = place { leave(minute, store, count: 0) }
            }
            if let (places, time) = troubled, time <= Clock.seconds() {
                troubled = nil
                look(at: places)
            }
            // A session that was killed between naming its message and telling us leaves one that only a look finds.
            if Clock.monotonicMilliseconds() - lastScan >= Intake.scanMilliseconds { mustScanNew = true }
            if mustScanNew, mayScan {
                mustScanNew = false
                lastScan = Clock.monotonicMilliseconds()
                scanned = 0
                begin(.new, store)
            } else if let minute = forced.popLast() {
                minutes.removeAll { $0 == minute }
                begin(.later(minute: minute), store)
            } else if let minute = minutes.first, minute * 60 <= Clock.seconds() {
                minutes.removeFirst()
                begin(.later(minute: minute), store)
            } else {
                return nil
            }
        }
    }

    private mutating func begin(_ place: QueueStore.Place, _ store: borrowing QueueStore) {
        do throws(SystemError) { listing = (place, try store.list(place)) } catch {
            if !error.isMissing { Log.error("unreadable", .text("reason", error.text)) }
        }
    }

    mutating func entered(_ place: QueueStore.Place) {
        if case .later(let minute) = place { inWork[minute, default: 0] += 1 }
    }

    mutating func left(_ place: QueueStore.Place, _ store: borrowing QueueStore) {
        if case .later(let minute) = place { leave(minute, store, count: 1) }
    }

    private mutating func leave(_ minute: Int, _ store: borrowing QueueStore, count: Int) {
        let left = inWork[minute, default: 0] - count
        inWork[minute] = left > 0 ? left : nil
        guard left <= 0, !minutes.contains(minute) else { return }
        if case .later(minute)? = listing?.place { return }
        store.removeMinute(minute)
    }
}
