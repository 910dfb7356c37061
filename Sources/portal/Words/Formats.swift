// Numbers, sizes and times as people of a language read them. Times are UTC, and say so; a browser with our script shows its own.

extension Words {
    /// `3.4 GB`, `3,4 Go`
    func size(_ octets: Int) -> String {
        let units = language == .en ? ["bytes", "KB", "MB", "GB", "TB"] : ["octets", "Ko", "Mo", "Go", "To"]
        var value = Double(octets), unit = 0
        while value >= 999.5, unit < units.count - 1 {
            value /= 1024
            unit += 1
        }
        return (unit == 0 || value >= 99.5 ? String(Int(value.rounded())) : decimal(value)) + "\u{a0}" + units[unit]
    }

    /// One digit behind the point, none where it is zero.
    private func decimal(_ value: Double) -> String {
        let tenths = Int((value * 10).rounded())
        return tenths % 10 == 0 ? String(tenths / 10) : "\(tenths / 10)\(language == .en ? "." : ",")\(tenths % 10)"
    }

    /// `25 November 2026, 22:28 UTC`
    func time(_ seconds: Int) -> String {
        let day = CalendarDay(number: seconds / 86400 - (seconds % 86400 < 0 ? 1 : 0))
        let minute = (seconds % 86400 + 86400) % 86400 / 60
        let clock = "\(Words.padded(minute / 60)):\(Words.padded(minute % 60))"
        switch language {
        case .en: return "\(day.day) \(Words.months.en[day.month - 1]) \(day.year), \(clock) UTC"
        case .fr: return "\(day.day == 1 ? "1er" : "\(day.day)") \(Words.months.fr[day.month - 1]) \(day.year) à \(clock) UTC"
        }
    }

    /// `22:28`, of the UTC day.
    func clock(_ seconds: Int) -> String { "\(Words.padded(seconds % 86400 / 3600)):\(Words.padded(seconds % 3600 / 60))" }

    /// `340 ms`, `1.2 s`
    func duration(milliseconds: Int) -> String {
        milliseconds < 1000 ? "\(milliseconds)\u{a0}ms" : decimal(Double(milliseconds) / 1000) + "\u{a0}s"
    }

    private static func padded(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }

    private static let months = (
        en: ["January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November", "December"],
        fr: ["janvier", "février", "mars", "avril", "mai", "juin", "juillet", "août", "septembre", "octobre", "novembre", "décembre"]
    )

    /// For the attribute datetime of an element time.
    static func machineTime(_ seconds: Int) -> String {
        let day = CalendarDay(number: seconds / 86400)
        return "\(day.year)-\(padded(day.month))-\(padded(day.day))T\(padded(seconds % 86400 / 3600)):\(padded(seconds % 3600 / 60)):\(padded(seconds % 60))Z"
    }
}

/// A moment as templates show it: an element time.
struct Moment: Sendable {
    let text: String
    let machine: String

    init(_ seconds: Int, _ words: Words) {
        text = words.time(seconds)
        machine = Words.machineTime(seconds)
    }
}
