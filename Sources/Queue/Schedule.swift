// When a message is tried again.
import Unix

public enum Schedule {
    /// Half its age from now, at least a minute and at most two hours, give or take a fifth, so that messages that failed
    /// together do not all come back together. Seconds since 1970.
    public static func nextTry(arrival: Int, now: Int) -> Int {
        let pause = min(max((now - arrival) / 2, 60), 7200)
        return now + pause - pause / 5 + Random.below(pause * 2 / 5 + 1)
    }

    public static func minute(of seconds: Int) -> Int { (seconds + 59) / 60 }
}
