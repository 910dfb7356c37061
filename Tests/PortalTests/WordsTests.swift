// Two languages that say the same, and templates that ask for nothing that is not there.
import Foundation
import Testing

@testable import portal

@Suite struct WordsTests {
    private static let sources = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("Sources/portal")

    @Test func bothLanguagesHaveTheSamePlaces() {
        for (name, both) in Words.table {
            #expect(Set(both.en.matches(of: /%\d/).map { String($0.0) }) == Set(both.fr.matches(of: /%\d/).map { String($0.0) }), "\(name)")
            #expect(!both.en.isEmpty && !both.fr.isEmpty && both.en.first != " " && both.fr.last != " ", "\(name)")
        }
    }

    @Test func templatesAskForWhatIsThere() throws {
        let directory = Self.sources.appendingPathComponent("Templates")
        var asked: Set<String> = []
        for file in try FileManager.default.contentsOfDirectory(atPath: directory.path) {
            let text = try String(contentsOf: directory.appendingPathComponent(file), encoding: .utf8)
            for match in text.matches(of: /\{\{t\.([\w.]+)\}\}/) {
                #expect(Words.knows(String(match.1)), "\(file): \(match.1)")
                asked.insert(String(match.1))
            }
            #expect(!text.contains(" style=") && !text.contains("<script>") && !text.contains("{{{t"), "\(file)")
        }
        #expect(asked.count > 80)
    }

    /// What the code asks for by a literal; `x.\(y)` is put together and not looked at.
    @Test func theCodeAsksForWhatIsThere() throws {
        for file in try FileManager.default.subpathsOfDirectory(atPath: Self.sources.path) where file.hasSuffix(".swift") {
            let text = try String(contentsOf: Self.sources.appendingPathComponent(file), encoding: .utf8)
            for match in text.matches(of: /words\("([\w.-]+)"[,)]/) { #expect(Words.knows(String(match.1)), "\(file): \(match.1)") }
            for match in text.matches(of: /Refusal\(\.\w+, "([\w.-]+)"/) { #expect(Words.knows(String(match.1)), "\(file): \(match.1)") }
        }
    }

    @Test func everyRefusalOfProvisionHasASentence() {
        for code in ["taken", "reserved", "has-one", "bad-name", "bad-domain", "domain-taken", "not-offered", "no-mailbox", "wrong-address", "bad-key", "key-in-use", "no-container", "no-message", "bad-request", "full"] {
            #expect(Words.knows("code." + code), "\(code)")
        }
    }

    @Test func languagesAreChosen() {
        func language(_ accepted: String, cookie: String? = nil) -> Language { Language(cookie: cookie, accepted: accepted) }
        #expect(language("") == .en && language("*") == .en && language("de") == .en && language("fr") == .fr && language("FR-be") == .fr)
        #expect(language("en;q=0.8, fr;q=0.9") == .fr && language("fr;q=0.1,en") == .en && language("fr;q=x,en;q=0.1") == .en && language("fr;q=0") == .en)
        #expect(language("fr", cookie: "en") == .en && language("en", cookie: "fr") == .fr && language("fr", cookie: "xx") == .fr)
    }

    @Test func frenchHasItsNarrowSpaces() {
        #expect(Words(.fr)("delete.sureTitle") == "Êtes-vous sûr\u{202f}?")
        #expect(Words(.en)("delete.sureTitle") == "Are you sure?")
    }

    @Test func numbersAreOneOrMany() {
        let words = Words(.en)
        #expect(words.count("admin.count", 1) == "1 mailbox" && words.count("admin.count", 0) == "0 mailboxes" && words.count("admin.count", 2) == "2 mailboxes")
    }

    @Test func sizesAndTimes() {
        let en = Words(.en), fr = Words(.fr)
        #expect(en.size(0) == "0\u{a0}bytes" && en.size(999) == "999\u{a0}bytes" && en.size(1536) == "1.5\u{a0}KB" && fr.size(5 << 30) == "5\u{a0}Go" && fr.size(3_650_722_202) == "3,4\u{a0}Go" && en.size(1 << 20) == "1\u{a0}MB")
        #expect(en.time(1_795_475_915) == "23 November 2026, 23:18 UTC" && fr.time(1_795_475_915) == "23 novembre 2026 à 23:18 UTC" && fr.time(0) == "1er janvier 1970 à 00:00 UTC")
        #expect(Words.machineTime(1_795_475_915) == "2026-11-23T23:18:35Z")
        #expect(en.duration(milliseconds: 12) == "12\u{a0}ms" && fr.duration(milliseconds: 1234) == "1,2\u{a0}s" && en.duration(milliseconds: 60_000) == "60\u{a0}s")
    }
}
