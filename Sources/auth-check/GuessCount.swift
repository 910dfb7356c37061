// A count within a window that slides, without a list of times: what this window has, and what is left of the one before it.

struct GuessCount {
    private let windowSeconds: Int
    /// Which window, counted from 1970.
    private let window: Int
    private var count: Int
    private var before: Int

    /// `text`: as `encoded`. What makes no sense counts as nothing.
    init(_ text: [UInt8], windowSeconds: Int, now: Int) {
        let numbers = String(decoding: text, as: UTF8.self).split(whereSeparator: { $0 == " " || $0 == "\n" }).compactMap { Int($0) }
        self.windowSeconds = windowSeconds
        window = now / windowSeconds
        (count, before) = (0, 0)
        guard numbers.count == 3, numbers.allSatisfy({ 0...9_999_999_999 ~= $0 }) else { return }
        if numbers[0] == window { (count, before) = (numbers[1], numbers[2]) }
        if numbers[0] == window - 1 { before = numbers[1] }
    }

    /// Of one length, so that a file is overwritten in place.
    var encoded: [UInt8] { Array((GuessCount.padded(window) + " " + GuessCount.padded(count) + " " + GuessCount.padded(before) + "\n").utf8) }

    private static func padded(_ number: Int) -> String {
        let text = String(number)
        return String(repeating: "0", count: max(0, 10 - text.utf8.count)) + text
    }

    /// Within the last `windowSeconds`, the window before taken as even.
    func failures(_ now: Int) -> Int { count + before * (windowSeconds - now % windowSeconds) / windowSeconds }

    /// How long until there are fewer than that, if nothing is added.
    func secondsUntilBelow(_ limit: Int, _ now: Int) -> Int {
        let left = windowSeconds - now % windowSeconds
        if count < limit { return max(1, left - (limit - count) * windowSeconds / max(1, before) + 1) }
        return left + windowSeconds - limit * windowSeconds / count + 1
    }

    mutating func add() { count += 1 }

    mutating func takeBack() { if count > 0 { count -= 1 } else if before > 0 { before -= 1 } }

    mutating func halve() { (count, before) = (count / 2, before / 2) }

    mutating func clear() { (count, before) = (0, 0) }
}
