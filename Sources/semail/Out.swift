// Standard output: tables and colour for a terminal, tab-separated lines for anything else, JSON where asked for.
// Gathered and written in large pieces: a list of a million lines is not a million calls, nor a million lines in memory.
import Unix

enum Out {
    static let isTerminal = IO.isTerminal(Descriptor.standardOutput)

    /// NO_COLOR, set to anything, means no.
    static let hasColour: Bool = {
        let environment = Environment.inherited()
        return isTerminal && (environment["NO_COLOR"] ?? "").isEmpty && environment["TERM"] != "dumb"
    }()

    /// This program has one thread.
    nonisolated(unsafe) private static var pending: [UInt8] = []

    static func write(_ text: String) {
        pending += Array(text.utf8)
        if pending.count >= 65536 { finish() }
    }

    static func line(_ text: String) { write(text + "\n") }

    /// Whoever read us may have had enough: `semail queue list | head`.
    static func finish() {
        do throws(SystemError) { try IO.writeAll(Descriptor.standardOutput, pending) } catch { Unix.Process.exit(1) }
        pending.removeAll(keepingCapacity: true)
    }

    static func document(_ json: JSON) { line(json.text) }

    enum Colour: String { case red = "31", green = "32", yellow = "33", bold = "1", dim = "2" }

    static func colour(_ text: String, _ colour: Colour) -> String { hasColour ? "\u{1b}[\(colour.rawValue)m\(text)\u{1b}[0m" : text }

    /// Control characters made visible: nothing a stranger wrote may move the cursor, or pass for a line of ours.
    static func clean(_ text: String) -> String {
        var result = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\u{0}"..."\u{1f}", "\u{7f}"..."\u{9f}", "\u{200e}", "\u{200f}", "\u{2028}"..."\u{202e}", "\u{2066}"..."\u{2069}":
                result += "\\u{\(String(scalar.value, radix: 16))}"
            default: result.unicodeScalars.append(scalar)
            }
        }
        return result
    }

    /// A question that only a person at a terminal can answer with yes.
    static func confirms(_ question: String, _ refusal: String = "this removes mail for good: say --yes if you mean it") throws -> Bool {
        guard IO.isTerminal(Descriptor.standardInput) else { throw Failure(refusal) }
        try? IO.writeAll(Descriptor.standardError, Array("\(clean(question)) [y/N] ".utf8))
        let answer = readLine()?.lowercased() ?? ""
        return answer == "y" || answer == "yes"
    }
}

/// One value in a table: `shown` for people, `raw` for programs.
struct Cell {
    let shown: String
    let raw: String

    init(_ shown: String, raw: String? = nil) {
        self.shown = Out.clean(shown)
        self.raw = Out.clean(raw ?? shown)
    }
}

/// A table whose rows come one at a time. The widths are given, the last column takes what is left.
struct Table {
    let columns: [(name: String, width: Int)]

    init(_ columns: [(name: String, width: Int)]) {
        self.columns = columns
        // Programs that take the columns apart need no headings.
        if Out.isTerminal { Out.line(Out.colour(aligned(columns.map(\.name)), .bold)) }
    }

    func row(_ cells: [Cell]) { Out.line(Out.isTerminal ? aligned(cells.map(\.shown)) : cells.map(\.raw).joined(separator: "\t")) }

    private func aligned(_ texts: [String]) -> String {
        var line = ""
        for (index, text) in texts.enumerated() {
            line += text
            if index < texts.count - 1 { line += String(repeating: " ", count: max(0, columns[index].width - text.count) + 2) }
        }
        return line
    }

    /// A table that fits in memory: columns are as wide as their widest cell.
    static func print(_ names: [String], _ rows: [[Cell]]) {
        let widths = names.indices.map { column in rows.reduce(names[column].count) { max($0, $1[column].shown.count) } }
        let table = Table(Array(zip(names, widths)).map { (name: $0, width: $1) })
        rows.forEach(table.row)
    }

    /// `name: value` lines, or `name TAB value` for programs.
    static func facts(_ facts: [(String, Cell)]) {
        let width = facts.reduce(0) { max($0, $1.0.count) }
        for (name, cell) in facts {
            Out.line(Out.isTerminal
                ? Out.colour(name, .bold) + String(repeating: " ", count: width - name.count + 2) + cell.shown
                : name + "\t" + cell.raw)
        }
    }
}
