// Options as everybody knows them.
import Testing
@testable import Program

@Suite struct OptionsTests {
    @Test func lettersWithAndWithoutValues() throws {
        var options = Options(["-u", "user", "-tc5", "-m", "-x y", "HOST", "-z"])
        try options.parse("u:c:m:t")
        #expect(options.value("u") == "user")
        #expect(options.has("t"))
        #expect(options.value("c") == "5")
        #expect(options.value("m") == "-x y")
        #expect(try options.next("HOST") == "HOST")
        #expect(options.remaining == ["-z"])
    }

    @Test func theLastOfSeveralHolds() throws {
        var options = Options(["-c1", "-c", "2"])
        try options.parse("c:")
        #expect(try options.number("c", default: 9) == 2)
        #expect(try options.number("d", default: 9) == 9)
    }

    @Test func twoDashesEndThem() throws {
        var options = Options(["-t", "--", "-t", "x"])
        try options.parse("t")
        #expect(options.remaining == ["-t", "x"])
    }

    @Test func aDashAloneIsAnArgument() throws {
        var options = Options(["-", "-t"])
        try options.parse("t")
        #expect(options.remaining == ["-", "-t"])
        #expect(!options.has("t"))
    }

    @Test(arguments: [["-x"], ["-tx"], ["-u"], ["-:"], ["-tu"]]) func whatIsUnknownOrIncomplete(words: [String]) {
        var options = Options(words)
        #expect(throws: UsageError.self) { try options.parse("u:t") }
    }

    @Test(arguments: ["", "x", "-1", "1x", "99999999999999999999"]) func whatIsNoNumber(text: String) throws {
        var options = Options(["-c", text])
        try options.parse("c:")
        #expect(throws: UsageError.self) { try options.number("c", default: 1) }
    }

    @Test func endAndNextComplain() throws {
        var options = Options(["x"])
        #expect(throws: UsageError.self) { try options.end() }
        _ = try options.next("x")
        try options.end()
        #expect(throws: UsageError.self) { try options.next("x") }
    }

    @Test func longWords() {
        var options = Options(["--once", "x"])
        let isOnce = options.takeWord("--once"), isAgain = options.takeWord("--once")
        #expect(isOnce && !isAgain)
        #expect(options.remaining == ["x"])
    }
}
