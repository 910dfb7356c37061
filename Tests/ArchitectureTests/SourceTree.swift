// The sources as they stand on disk, and the package's arrows as Package.swift declares them.
import Foundation

/// One file of Sources, its comments and string literals blanked out, its lines kept.
struct SourceFile {
    /// Below Sources: `SMTP/Commands/Rcpt.swift`.
    let path: String
    let text: String

    var module: String { String(path.prefix { $0 != "/" }) }
    var lineCount: Int { text.split(separator: "\n", omittingEmptySubsequences: false).count - (text.hasSuffix("\n") ? 1 : 0) }

    /// The modules it imports, also with attributes, access levels and kinds (`@testable public import struct A.B`).
    var imports: [String] {
        code.split(separator: "\n").flatMap { $0.split(separator: ";") }.compactMap { line in
            var words = line.split(whereSeparator: { $0 == " " || $0 == "\t" })[...]
            while let word = words.first, word.hasPrefix("@") || ["public", "package", "internal", "fileprivate", "private"].contains(word) { words.removeFirst() }
            guard words.popFirst() == "import" else { return nil }
            if let kind = words.first, ["struct", "class", "enum", "protocol", "typealias", "func", "let", "var"].contains(kind) { words.removeFirst() }
            return words.first.map { String($0.prefix { $0 != "." }) }
        }
    }

    /// The text without comments and string literals, so that words in them are no code.
    var code: String {
        var result = ""
        var rest = text[...]
        var depth = 0
        while let character = rest.first {
            if depth > 0 {
                if rest.hasPrefix("*/") { depth -= 1; rest.removeFirst() } else if rest.hasPrefix("/*") { depth += 1; rest.removeFirst() } else if character == "\n" { result.append("\n") }
                rest.removeFirst()
            } else if rest.hasPrefix("//") {
                rest = rest.drop { $0 != "\n" }
            } else if rest.hasPrefix("/*") {
                depth = 1
                rest = rest.dropFirst(2)
            } else if rest.hasPrefix("\"\"\"") {
                rest = rest.dropFirst(3)
                while !rest.isEmpty, !rest.hasPrefix("\"\"\"") {
                    if rest.first == "\n" { result.append("\n") }
                    rest = rest.dropFirst(rest.first == "\\" ? 2 : 1)
                }
                rest = rest.dropFirst(3)
            } else if character == "\"" {
                rest.removeFirst()
                while let next = rest.first, next != "\"", next != "\n" { rest = rest.dropFirst(next == "\\" ? 2 : 1) }
                rest = rest.dropFirst()
            } else {
                result.append(character)
                rest.removeFirst()
            }
        }
        return result
    }
}

enum SourceTree {
    static let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()

    /// Every file below Sources with one of these endings.
    static func files(_ endings: String...) throws -> [SourceFile] {
        let sources = root.appendingPathComponent("Sources")
        return try FileManager.default.subpathsOfDirectory(atPath: sources.path).sorted().filter { path in endings.contains { path.hasSuffix(".\($0)") } }.map {
            SourceFile(path: $0, text: try String(contentsOf: sources.appendingPathComponent($0), encoding: .utf8))
        }
    }

    /// The directories of Sources that have anything in them.
    static func modules() throws -> Set<String> { Set(try files("swift", "c", "h").map(\.module)) }

    static func packageText() throws -> String { try String(contentsOf: root.appendingPathComponent("Package.swift"), encoding: .utf8) }

    struct Target {
        let name: String
        let uses: Set<String>
        /// Declared by `program(...)`: static, of the mail path.
        let isMailPath: Bool
    }

    /// The targets, tests aside. Package.swift declares them in four ways; whatever is in none of them is missing here, and the test of
    /// directories says so.
    static func targets() throws -> [Target] {
        let text = SourceFile(path: "Package.swift", text: try packageText()).textWithoutComments
        var found: [Target] = []
        for match in text.matches(of: /\b(room|program)\("([^"]+)"(?:,\s*uses:\s*\[([^\]]*)\])?\)/) {
            found.append(Target(name: String(match.2), uses: names(match.3 ?? ""), isMailPath: match.1 == "program"))
        }
        for match in text.matches(of: /\.(target|executableTarget|systemLibrary)\(\s*name:\s*"([^"]+)"\s*(?:,\s*dependencies:\s*\[([^\]]*)\])?/) {
            found.append(Target(name: String(match.2), uses: names(match.3 ?? ""), isMailPath: false))
        }
        return found
    }

    /// The names in `"Unix", .product(name: "ArgumentParser", package: "…")`.
    private static func names(_ list: Substring) -> Set<String> {
        let withoutPackages = list.replacing(/package:\s*"[^"]*"/, with: "")
        return Set(withoutPackages.matches(of: /"([^"]+)"/).map { String($0.1) })
    }
}

extension SourceFile {
    var textWithoutComments: String { text.split(separator: "\n", omittingEmptySubsequences: false).map { $0.replacing(/\/\/.*$/, with: "") }.joined(separator: "\n") }
}
