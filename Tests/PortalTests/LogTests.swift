// Lines of the log, what they tell of a message, and pictures of numbers.
import Foundation
import Queue
import Testing

@testable import portal

@Suite struct LogLineTests {
    private func parsed(_ text: String) -> LogLine? { LogLine(Array("2026-11-25_22:28:33.12345 \(text)".utf8)) }

    @Test func valuesAreUnescaped() throws {
        let line = try #require(parsed(#"qrunner: info: relayed id=1k0z3zqffjwafqwe to=a@b host=mx answer="250 \x22ok\x22 \xc3\xa9" size=4 empty="""#))
        #expect(line.program == "qrunner" && line.event == "relayed" && line["id"] == "1k0z3zqffjwafqwe" && line["answer"] == "250 \"ok\" é" && line["size"] == "4" && line["empty"] == "" && line["none"] == nil)
        #expect(line.seconds == 1_795_645_713)
    }

    /// A value with `key=` in it is a value: what a stranger says is in quotes or has no space.
    @Test func aValueForgesNoField() throws {
        let line = try #require(parsed(#"qrunner: info: deferred id=1k0z3zqffjwafqwe to=a@b reason="x to=other@y id=zzz" host="#))
        #expect(line["to"] == "a@b" && line["reason"] == "x to=other@y id=zzz")
    }

    @Test(arguments: ["", "2026-11-25", "2026-13-25_22:28:33.1 a: b: c", "2026-11-25 22:28:33.1 a: b: c", "2026-11-25_22:28:33.1 nonsense", "@400000006 a: b: c", "2026-11-25_22:28:3x.1 a: b: c"])
    func whatIsNoneIsPassedOver(text: String) { #expect(LogLine(Array(text.utf8)) == nil) }

    @Test func days() {
        for (text, number) in [("1970-01-01", 0), ("1972-02-29", 789), ("2000-02-29", 11016), ("2026-11-25", 20782), ("2100-03-01", 47541)] {
            let parts = text.split(separator: "-").map { Int($0)! }
            let day = CalendarDay(year: parts[0], month: parts[1], day: parts[2])
            #expect(day.number == number && CalendarDay(number: number) == day, "\(text)")
        }
    }
}

@Suite struct StoryTests {
    private func event(_ text: String) -> MessageEvent { MessageEvent(LogLine(Array("2026-11-25_22:28:33.1 qrunner: info: \(text)".utf8))!)! }

    private func story(_ events: String...) -> MessageStory {
        var story = MessageStory(id: "x", isSent: true, accepted: 0)
        for text in events { story.add(event(text)) }
        return story
    }

    @Test func theStateIsTheLastWordOnTheWorst() {
        #expect(story().state == .waiting)
        #expect(story("deferred id=x to=a", "relayed id=x to=a").state == .delivered)
        #expect(story("relayed id=x to=a", "deferred id=x to=b").state == .waiting)
        #expect(story("relayed id=x to=a", "failed id=x to=b", "reported id=x as=y to=me action=failed").state == .failed)
        #expect(story("deferred id=x to=a", "ordered id=x order=hold").state == .held)
        #expect(story("deferred id=x to=a", "ordered id=x order=hold", "ordered id=x order=release").state == .waiting)
        #expect(story("deferred id=x to=a", "ordered id=x order=delete").state == .cancelled)
        #expect(story("relayed id=x to=a", "relayed id=x to=b", "reported id=x to=me action=relayed").recipients == ["a", "b"])
    }

    @Test func anIdTellsItsTime() {
        let id = QueueID.make(microseconds: 1_795_475_915_461_139)
        #expect(id.seconds == 1_795_475_915)
        #expect(QueueID("uuuuuuuuuuuuuuuu")?.seconds == nil)
    }

    @Test func depthsOfADay() {
        let depth = QueueDepth("100\t5\nnonsense\n160\t7\n220\t1\n280\t-1\n")
        #expect(depth.samples.map(\.messages) == [5, 7, 1])
        #expect(depth.deepest(before: 300, spans: 3, spanSeconds: 100) == [nil, 7, 1])
    }

    @Test func containersAndCounts() throws {
        #expect(ContainerState("running\t12")?.kind == .running && ContainerState("exited")?.kind == .stopped && ContainerState("missing\t0")?.kind == .missing && ContainerState("") == nil)
        let count = try #require(MaildirExports.Count("new 2\ncur 40\nnewest 1795475915\noctets 181344\n"))
        #expect(count.new == 2 && count.read == 40 && count.newest == 1_795_475_915 && count.octets == 181_344)
        #expect(MaildirExports.Count("") == nil && MaildirExports.Count("new x\ncur 1") == nil && MaildirExports.Count("new 0\ncur 0\nnewest 0\noctets 0")?.newest == nil)
        let record = try #require(DomainRecord("mx\twrong\ta.test\t10 mail.semail.test\t5 other.test"))
        #expect(record.kind == "mx" && record.state == .wrong && record.wanted == "10 mail.semail.test" && record.found == "5 other.test")
        #expect(DomainRecord("mx\tok") == nil && DomainRecord("mx\tgood\ta\tb\tc") == nil)
    }

    @Test func scalesEndAtRoundNumbers() {
        for (most, ceiling) in [(0.0, 4), (1, 4), (4, 4), (5, 8), (9, 20), (20, 20), (21, 40), (45, 80), (81, 200), (1000, 2000)] { #expect(Plot.ceiling(most) == ceiling, "\(most)") }
    }

    @Test func aPlotIsWellFormed() throws {
        let plot = Plot(title: "<&\">", text: "it's", series: [Plot.Series(name: "a", values: [1, nil, 3, 0]), Plot.Series(name: "b", values: [0, 2, nil, 5])], end: 86400, spanSeconds: 3600, Words(.en))
        let svg = plot.svg
        #expect(svg.contains("aria-label=\"&lt;&amp;&quot;&gt;. it&#39;s\""))
        #expect(svg.matches(of: /<rect class="(\w)"/).map { String($0.1) } == ["a", "b", "a", "b"])
        #expect(!svg.contains("style=") && !svg.contains("nan") && !svg.contains("inf"))
    }
}
