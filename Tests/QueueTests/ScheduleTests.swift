// When a message is tried again: half its age, between a minute and two hours, give or take a fifth.
import Queue
import Testing

@Suite struct ScheduleTests {
    static let now = 1_795_467_913

    @Test(arguments: [(0, 60), (1, 60), (119, 60), (120, 60), (122, 61), (600, 300), (3600, 1800), (14_400, 7200), (14_402, 7200), (432_000, 7200), (-3600, 60)])
    func pauses(age: Int, pause: Int) {
        let times = (0..<2000).map { _ in Schedule.nextTry(arrival: Self.now - age, now: Self.now) - Self.now }
        let fifth = pause / 5
        #expect(times.allSatisfy { pause - fifth...pause + fifth ~= $0 })
        // They do not all come back together: the whole width is used.
        #expect(times.min()! <= pause - fifth + fifth / 4 + 1)
        #expect(times.max()! >= pause + fifth - fifth / 4 - 1)
    }

    /// Five days take some sixty tries, not thousands and not three.
    @Test func triesWithinALifetime() {
        var time = 0, tries = 0
        while time < 432_000 {
            time = Schedule.nextTry(arrival: 0, now: time)
            tries += 1
        }
        #expect(50...100 ~= tries)
    }

    /// Not before its time: minutes are rounded up.
    @Test(arguments: [(0, 0), (1, 1), (59, 1), (60, 1), (61, 2), (120, 2), (now, 29_924_466)]) func minutes(seconds: Int, minute: Int) {
        #expect(Schedule.minute(of: seconds) == minute)
        #expect(Schedule.minute(of: seconds) * 60 >= seconds)
    }
}
