// Dates of headers (RFC 5322 3.3) and lists.
import Glibc
import Testing
@testable import Mail

@Suite struct MailDateTests {
    @Test(arguments: [
        (0, "Thu, 1 Jan 1970 00:00:00 +0000"),
        (59, "Thu, 1 Jan 1970 00:00:59 +0000"),
        (86399, "Thu, 1 Jan 1970 23:59:59 +0000"),
        (951_782_400, "Tue, 29 Feb 2000 00:00:00 +0000"),
        (951_868_799, "Tue, 29 Feb 2000 23:59:59 +0000"),
        (951_868_800, "Wed, 1 Mar 2000 00:00:00 +0000"),
        (1_709_164_800, "Thu, 29 Feb 2024 00:00:00 +0000"),
        (1_795_467_913, "Mon, 23 Nov 2026 21:05:13 +0000"),
        (2_147_483_648, "Tue, 19 Jan 2038 03:14:08 +0000"),
        (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 +0000"),
        (4_107_542_400, "Mon, 1 Mar 2100 00:00:00 +0000"),
    ])
    func text(seconds: Int, expected: String) { #expect(MailDate.text(seconds: seconds) == expected) }

    @Test func short() {
        #expect(MailDate.short(seconds: 0) == "1970-01-01 00:00:00")
        #expect(MailDate.short(seconds: 1_795_467_913) == "2026-11-23 21:05:13")
    }

    /// Every day of four centuries, against the C library's calendar.
    @Test func agreesWithTheCLibrary() {
        var buffer = [CChar](repeating: 0, count: 64)
        for day in 0..<146_097 {
            var seconds = day * 86400 + day * 7919 % 86400
            var parts = tm()
            gmtime_r(&seconds, &parts)
            // %e pads with a space, RFC 5322 has one digit or two.
            let count = strftime(&buffer, buffer.count, "%a, %e %b %Y %H:%M:%S +0000", &parts)
            let expected = String(decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self).replacing(",  ", with: ", ")
            if MailDate.text(seconds: seconds) != expected { Issue.record("\(MailDate.text(seconds: seconds)) should be \(expected)") }
        }
    }
}
