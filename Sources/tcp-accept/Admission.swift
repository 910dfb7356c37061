// Who may come in: bounds for all, and for each address.
import Unix

struct Limits {
    let children: Int
    /// 0: no limit.
    let perAddress: Int
    /// 0: no limit.
    let perMinute: Int
    /// Sent to those turned away.
    let line: String?
}

/// Counts connections by address. Its memory is bounded: by the connections that are open, and by those that were new in
/// the last two minutes.
struct Admission {
    private let limits: Limits
    private var open: [String: Int] = [:]
    /// New connections in this minute and the one before it: a window that slides without a list of times.
    private var recent: [String: Int] = [:]
    private var before: [String: Int] = [:]
    private var minuteStart = Clock.monotonicMilliseconds()

    enum Refusal: String { case tooMany = "children", address = "address", rate = "rate" }

    init(_ limits: Limits) { self.limits = limits }

    /// nil: come in. The caller calls `leave` when the connection ends.
    mutating func enter(_ address: String, running: Int) -> Refusal? {
        if limits.perMinute > 0 {
            let elapsed = advance()
            let new = recent[address, default: 0]
            // The last minute's share that is still within sixty seconds.
            let rest = before[address, default: 0] * (60_000 - elapsed) / 60_000
            if new + rest >= limits.perMinute { return .rate }
            recent[address] = new + 1
        }
        if running >= limits.children { return .tooMany }
        if limits.perAddress > 0, open[address, default: 0] >= limits.perAddress { return .address }
        open[address, default: 0] += 1
        return nil
    }

    mutating func leave(_ address: String) {
        let left = open[address, default: 1] - 1
        open[address] = left > 0 ? left : nil
    }

    /// Milliseconds into the current minute.
    private mutating func advance() -> Int {
        let elapsed = Clock.monotonicMilliseconds() - minuteStart
        guard elapsed >= 60_000 else { return elapsed }
        before = elapsed < 120_000 ? recent : [:]
        recent = [:]
        minuteStart += elapsed / 60_000 * 60_000
        return elapsed % 60_000
    }
}
