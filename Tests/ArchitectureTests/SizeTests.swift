// A file is one subject, and a program's main.swift a page.
import Testing

@Suite struct SizeTests {
    @Test func noFileIsLongerThanThreeHundredLines() throws {
        for file in try SourceTree.files("swift", "c", "h") where file.lineCount > 300 { Issue.record("\(file.path) has \(file.lineCount) lines") }
    }

    @Test func everyMainIsShort() throws {
        let mains = try SourceTree.files("swift").filter { $0.path.hasSuffix("/main.swift") }
        #expect(mains.count >= 4)
        for file in mains where file.lineCount >= 80 { Issue.record("\(file.path) has \(file.lineCount) lines") }
    }

    /// A file opens with what it does, whom it trusts and what it may not do.
    @Test func everyFileOpensWithWhatItDoes() throws {
        for file in try SourceTree.files("swift", "c", "h") {
            if !file.text.hasPrefix("// ") && !file.text.hasPrefix("/* ") && !file.text.hasPrefix("/*\n * ") { Issue.record("\(file.path) does not say what it does") }
        }
    }
}
