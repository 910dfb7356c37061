// What the pages say, in a language. Templates ask for sentences by name: `{{t.signIn.title}}`. Each stands in a table with its English
// and its French side by side, so that none can be missing.
import Mustache

typealias Sentences = KeyValuePairs<String, (en: String, fr: String)>

struct Words: Sendable, MustacheParent {
    let language: Language
    /// The part of a name that was asked for so far: a template's `t.keys.add` comes as `keys`, then `add`.
    private let prefix: String

    init(_ language: Language) { self.init(language, prefix: "") }

    private init(_ language: Language, prefix: String) {
        self.language = language
        self.prefix = prefix
    }

    func child(named name: String) -> Any? {
        let whole = prefix + name
        return Words.table[whole] == nil ? Words(language, prefix: whole + ".") : self(whole)
    }

    /// A sentence; `%1`, `%2` in it are replaced by the values.
    func callAsFunction(_ name: String, _ values: String...) -> String { callAsFunction(name, values) }

    func callAsFunction(_ name: String, _ values: [String]) -> String {
        guard let both = Words.table[name] else { return "[\(name)]" }
        let text = language == .en ? both.en : Words.spaced(both.fr)
        return values.enumerated().reduce(text) { text, value in Words.replacing("%\(value.offset + 1)", in: text, by: value.element) }
    }

    /// A sentence about a number of things, which is its first value.
    func count(_ name: String, _ number: Int, _ values: String...) -> String {
        callAsFunction(number == 1 && Words.knows(name + "One") ? name + "One" : name, ["\(number)"] + values)
    }

    static func knows(_ name: String) -> Bool { table[name] != nil }

    static let table: [String: (en: String, fr: String)] = {
        var table: [String: (en: String, fr: String)] = [:]
        for sentences in [frame, signInPage, createPage, progressPage, homePage, keysPage, recordsPage, logPage, deletePage, adminPage, refusals] {
            for (name, both) in sentences { table[name] = both }
        }
        return table
    }()

    /// French has narrow spaces in front of some signs, at which no line may break.
    private static func spaced(_ text: String) -> String {
        var result = "", isSpace = false
        for character in text {
            if character == " " { if isSpace { result.append(" ") }; isSpace = true; continue }
            if isSpace { result.append(";:!?»".contains(character) ? "\u{202f}" : " ") }
            isSpace = false
            result.append(character)
        }
        if isSpace { result.append(" ") }
        return result.split(separator: "« ", omittingEmptySubsequences: false).joined(separator: "«\u{202f}")
    }

    private static func replacing(_ mark: String, in text: String, by value: String) -> String {
        text.split(separator: mark, omittingEmptySubsequences: false).joined(separator: value)
    }
}
