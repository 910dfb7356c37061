// The values that control files may hold: sizes, durations, counts and ranges, to their very ends.
import Control
import Testing

@Suite struct SettingTests {
    @Test(arguments: [
        ("0", 0), ("1", 1), ("100", 100), ("64K", 65536), ("50M", 52_428_800), ("1G", 1_073_741_824), ("007", 7), ("1024G", 1_099_511_627_776),
    ])
    func sizes(text: String, octets: Int) { #expect(Setting.messageSize.number(text) == octets) }

    @Test(arguments: [("0", 0), ("90", 90), ("90s", 90), ("5m", 300), ("1h", 3600), ("5d", 432_000), ("0d", 0)])
    func durations(text: String, seconds: Int) { #expect(Setting.queueLifetime.number(text) == seconds) }

    @Test(arguments: [("0", 0), ("200", 200)]) func counts(text: String, number: Int) { #expect(Setting.sessions.number(text) == number) }

    @Test(arguments: [
        "", " ", "K", "-1", "-1K", "+1", "+1K", "1 ", " 1", "1 K", "1KB", "1k", "1m", "1T", "1.5M", "1e3", "0x10", "1,000", "1_000", "ten", "１", "1\n", "1\0", "9223372036854775808", "9007199254740992K", "8589934592G", "99999999999999999999",
    ])
    func noSizes(text: String) {
        #expect(Setting.messageSize.number(text) == nil)
        #expect(!Setting.messageSize.accepts(text))
    }

    @Test(arguments: ["", "s", "-1s", "+1s", "1S", "1M", "1K", "1w", "1y", "1h30m", "1.5h", "1:30", "106751991167301d", "99999999999999999999"]) func noDurations(text: String) {
        #expect(Setting.queueLifetime.number(text) == nil)
        #expect(!Setting.queueLifetime.accepts(text))
    }

    @Test(arguments: ["", "-1", "+1", "1K", "1s", "1.0", "x", "9223372036854775808"]) func noCounts(text: String) {
        #expect(Setting.sessions.number(text) == nil)
        #expect(!Setting.sessions.accepts(text))
    }

    /// Programs count in milliseconds and add to what they read: no value they are given may overflow on the way.
    @Test func noDurationOverflowsInMilliseconds() {
        for setting in Setting.all {
            guard case .duration = setting.kind else { continue }
            for text in ["9223372036854775807", "9223372036854775807s", "153722867280912930m", "106751991167300d", "9223372036854776"] {
                guard let seconds = setting.number(text) else { continue }
                #expect(!seconds.multipliedReportingOverflow(by: 1000).overflow, "\(setting.name) \(text)")
            }
        }
    }

    @Test func noLengthOverflowsWithItsLineEnd() {
        for text in ["9223372036854775807", "9223372036854775806"] {
            guard let octets = Setting.commandLength.number(text) else { continue }
            #expect(!octets.addingReportingOverflow(2).overflow, "\(text)")
        }
    }

    @Test(arguments: [("30000-59999", 30000, 59999), ("1-1", 1, 1), ("1-4294967294", 1, 4_294_967_294)] as [(String, UInt32, UInt32)]) func ranges(text: String, first: UInt32, last: UInt32) {
        #expect(Setting.range(text) == first...last)
        #expect(Setting.mailboxUids.accepts(text))
    }

    /// Never root, never the number that means nobody, and nothing that is read as something else.
    @Test(arguments: ["", "-", "1", "1-", "-1", "0-5", "5-4", "1-2-3", "1--2", "-1-2", "1-2-", "+1-2", "1-+2", "1 - 2", "1-4294967295", "1-4294967296", "a-b", "1:2", "1..2"]) func noRanges(text: String) {
        #expect(Setting.range(text) == nil)
        #expect(!Setting.mailboxUids.accepts(text))
    }

    @Test func choices() {
        for text in ["yes", "no"] { #expect(Setting.authWithoutTLS.accepts(text)) }
        for text in ["", "Yes", "NO", "true", "1", "on", "y", "yes ", " yes", "yes\n", "yes no"] { #expect(!Setting.authWithoutTLS.accepts(text), "\(text)") }
        #expect(Setting.authWithoutTLS.number("yes") == nil)
    }

    /// What nobody has said is what does no harm: passwords stay encrypted, and budgets hold.
    @Test func theDefaultsOfTheOutgoingServer() throws {
        #expect(Setting.authWithoutTLS.fallback == "no")
        for setting in [Setting.messagesPerHour, .recipientsPerHour, .connections, .connectionsPerDestination] {
            let text = try #require(setting.fallback)
            #expect(try #require(setting.number(text)) > 0, "\(setting.name)")
        }
        // RFC 5321 4.5.4.1: tries go on for days; a notice of delay comes before.
        let notice = try #require(Setting.delayNotice.number(Setting.delayNotice.fallback ?? "")), lifetime = try #require(Setting.queueLifetime.number(Setting.queueLifetime.fallback ?? ""))
        #expect(notice < lifetime)
    }

    @Test func textIsOneLine() {
        #expect(Setting.hostname.accepts("mail.semail.test"))
        for text in ["a\nb", "a\r\nb", "a\0b"] { #expect(!Setting.hostname.accepts(text)) }
        #expect(Setting.aliases.accepts("a@b c@d\ne@f g@h"))
    }

    @Test func everySettingHasANameAndADefaultItAccepts() {
        #expect(Set(Setting.all.map(\.name)).count == Setting.all.count)
        for setting in Setting.all {
            #expect(setting.name.utf8.allSatisfy { 0x61...0x7a ~= $0 || $0 == 0x2d }, "\(setting.name)")
            #expect(!setting.meaning.isEmpty)
            if let fallback = setting.fallback { #expect(setting.accepts(fallback), "\(setting.name)") }
        }
        #expect(Setting.all.filter { $0.fallback == nil }.map(\.name) == ["hostname"])
    }

    /// RFC 5321 4.5.3.1: what the defaults may not fall below.
    @Test func theDefaultsAreTheRFCsAtLeast() throws {
        func number(_ setting: Setting) throws -> Int {
            let text = try #require(setting.fallback)
            return try #require(setting.number(text))
        }
        #expect(try number(.recipients) >= 100)
        #expect(try number(.commandLength) >= 512)
        #expect(try number(.lineLength) >= 1000)
        #expect(try number(.messageSize) >= 65536)
        #expect(try number(.idleTime) >= 300)
        #expect(try number(.queueLifetime) >= 4 * 86400)
        #expect(try number(.hops) >= 100)
    }
}
