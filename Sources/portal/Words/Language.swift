// The two languages, and which of them a browser gets. Pure.

enum Language: String, Sendable, CaseIterable {
    case en, fr

    /// What was chosen by the switch, else what the browser prefers (RFC 9110 12.5.4), else English.
    init(cookie: String?, accepted: String) {
        self = cookie.flatMap(Language.init) ?? Language.preferred(accepted)
    }

    private static func preferred(_ accepted: String) -> Language {
        var best: (language: Language, quality: Double) = (.en, 0)
        for part in accepted.split(separator: ",").prefix(20) {
            let words = part.split(separator: ";").map { $0.filter { $0 != " " } }
            guard let tag = words.first, let language = Language(rawValue: tag.prefix { $0 != "-" }.lowercased()) else { continue }
            let quality = words.dropFirst().first { $0.hasPrefix("q=") }.map { Double($0.dropFirst(2)) ?? 0 } ?? 1
            if quality > best.quality { best = (language, quality) }
        }
        return best.language
    }

    /// What it is called by those who speak it.
    var name: String {
        switch self {
        case .en: "English"
        case .fr: "Français"
        }
    }

    var other: Language { self == .en ? .fr : .en }
}
