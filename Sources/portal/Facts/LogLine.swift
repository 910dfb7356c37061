// A line of a log, as svlogd keeps it: its time, then `program: level: event key=value …`. Values are what strangers said: they are
// unescaped here and escaped again where they are shown. Pure.

struct LogLine: Sendable, Equatable {
    /// Seconds since 1970.
    let seconds: Int
    let program: String
    let event: String
    private let fields: [String: String]

    /// nil: it is none of ours.
    init?(_ bytes: some Collection<UInt8>) {
        let line = Array(bytes)
        guard let seconds = LogLine.time(line.prefix(19)), let timeEnd = line.firstIndex(of: 0x20) else { return nil }
        let heads = line[(timeEnd + 1)...].split(separator: 0x20, maxSplits: 3, omittingEmptySubsequences: false)
        guard heads.count >= 3, heads[0].last == 0x3a, heads[1].last == 0x3a else { return nil }
        self.seconds = seconds
        program = String(decoding: heads[0].dropLast(), as: UTF8.self)
        event = String(decoding: heads[2], as: UTF8.self)
        fields = heads.count == 4 ? LogLine.fields(heads[3]) : [:]
    }

    subscript(key: String) -> String? { fields[key] }

    private static func fields(_ bytes: ArraySlice<UInt8>) -> [String: String] {
        var fields: [String: String] = [:]
        var rest = bytes
        while let equals = rest.firstIndex(of: 0x3d) {
            let key = String(decoding: rest[..<equals], as: UTF8.self)
            rest = rest[(equals + 1)...]
            let isQuoted = rest.first == 0x22
            if isQuoted { rest.removeFirst() }
            let end = rest.firstIndex(of: isQuoted ? 0x22 : 0x20) ?? rest.endIndex
            fields[key] = unescaped(rest[..<end])
            rest = rest[end...]
            if isQuoted, !rest.isEmpty { rest.removeFirst() }
            if rest.first == 0x20 { rest.removeFirst() }
        }
        return fields
    }

    private static func unescaped(_ bytes: ArraySlice<UInt8>) -> String {
        var result: [UInt8] = []
        var index = bytes.startIndex
        while index < bytes.endIndex {
            if bytes[index] == 0x5c, index + 3 < bytes.endIndex, bytes[index + 1] == 0x78, let high = Hex.value(bytes[index + 2]), let low = Hex.value(bytes[index + 3]) {
                result.append(high << 4 | low)
                index += 4
            } else {
                result.append(bytes[index])
                index += 1
            }
        }
        return String(decoding: result, as: UTF8.self)
    }

    /// `2026-11-25_22:28:33`, in UTC.
    static func time(_ text: some Collection<UInt8>) -> Int? {
        let bytes = Array(text)
        guard bytes.count == 19, bytes[4] == 0x2d, bytes[7] == 0x2d, bytes[10] == 0x5f, bytes[13] == 0x3a, bytes[16] == 0x3a else { return nil }
        func number(_ range: Range<Int>) -> Int? {
            bytes[range].reduce(Int?.some(0)) { value, byte in value.flatMap { 0x30...0x39 ~= byte ? $0 * 10 + Int(byte - 0x30) : nil } }
        }
        guard let year = number(0..<4), let month = number(5..<7), let day = number(8..<10), let hour = number(11..<13), let minute = number(14..<16),
              let second = number(17..<19), 1...12 ~= month, 1...31 ~= day else { return nil }
        return CalendarDay(year: year, month: month, day: day).number * 86400 + hour * 3600 + minute * 60 + second
    }
}

/// A day of the Gregorian calendar and its number since 1970.
struct CalendarDay: Sendable, Equatable {
    let year: Int
    let month: Int
    let day: Int

    init(year: Int, month: Int, day: Int) {
        self.year = year
        self.month = month
        self.day = day
    }

    /// Years begin in March here, so that the leap day is a year's last.
    init(number: Int) {
        let days = number + 719_468
        let era = (days >= 0 ? days : days - 146_096) / 146_097
        let ofEra = days - era * 146_097
        let yearOfEra = (ofEra - ofEra / 1460 + ofEra / 36524 - ofEra / 146_096) / 365
        let ofYear = ofEra - (365 * yearOfEra + yearOfEra / 4 - yearOfEra / 100)
        let shifted = (5 * ofYear + 2) / 153
        day = ofYear - (153 * shifted + 2) / 5 + 1
        month = shifted < 10 ? shifted + 3 : shifted - 9
        year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
    }

    var number: Int {
        let year = month <= 2 ? self.year - 1 : self.year
        let era = (year >= 0 ? year : year - 399) / 400
        let yearOfEra = year - era * 400
        let ofYear = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1
        return era * 146_097 + yearOfEra * 365 + yearOfEra / 4 - yearOfEra / 100 + ofYear - 719_468
    }
}
