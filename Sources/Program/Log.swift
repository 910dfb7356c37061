// One event, one line on standard error, for the supervisor's logger: `program: level: event key=value…`.
// semail-log.5 lists every event. What comes from a stranger is escaped, so that no line can be forged.
import Unix

public enum Log {
    /// One `key=value` of a line.
    public struct Field {
        let key: StaticString
        let value: [UInt8]

        public static func text(_ key: StaticString, _ value: String) -> Field { Field(key: key, value: Array(value.utf8)) }
        public static func bytes(_ key: StaticString, _ value: [UInt8]) -> Field { Field(key: key, value: value) }
        public static func count(_ key: StaticString, _ value: Int) -> Field { Field(key: key, value: Array(String(value).utf8)) }
    }

    /// The name this program was called by, without directories.
    public static let program: String = {
        let path = CommandLine.arguments.first ?? "semail"
        return path.split(separator: "/").last.map(String.init) ?? path
    }()

    public static func info(_ event: StaticString, _ fields: Field...) { line("info", event, fields) }
    public static func warning(_ event: StaticString, _ fields: Field...) { line("warning", event, fields) }
    public static func error(_ event: StaticString, _ fields: Field...) { line("error", event, fields) }

    /// The last words of a program.
    static func fatal(_ sentence: String) { line("fatal", "ended", [.text("reason", sentence)]) }

    /// A line that nobody sees: what the language sets up at the first one is then set up in a template, before it forks.
    public static func rehearse(_ fields: Field...) { _ = text("info", "rehearsal", fields) }

    private static func line(_ level: StaticString, _ event: StaticString, _ fields: [Field]) {
        // A logger that is gone or full is no reason to lose mail.
        try? IO.writeAll(Descriptor.standardError, text(level, event, fields))
    }

    private static func text(_ level: StaticString, _ event: StaticString, _ fields: [Field]) -> [UInt8] {
        var line = Array(program.utf8)
        line.reserveCapacity(256)
        append(": ", to: &line)
        append(level, to: &line)
        append(": ", to: &line)
        append(event, to: &line)
        for field in fields {
            line.append(0x20)
            append(field.key, to: &line)
            line.append(0x3d)
            appendEscaped(field.value, to: &line)
        }
        line.append(0x0a)
        return line
    }

    private static func append(_ text: StaticString, to line: inout [UInt8]) {
        line.append(contentsOf: UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount))
    }

    /// Values with spaces are put in quotes; control and 8-bit octets, quotes and backslashes become \xNN.
    private static func appendEscaped(_ value: [UInt8], to line: inout [UInt8]) {
        let digits = Array("0123456789abcdef".utf8)
        let quoted = value.isEmpty || value.contains(0x20)
        if quoted { line.append(0x22) }
        for byte in value.prefix(1000) {
            if byte < 0x20 || byte >= 0x7f || byte == 0x22 || byte == 0x5c {
                line.append(contentsOf: [0x5c, 0x78, digits[Int(byte >> 4)], digits[Int(byte & 15)]])
            } else {
                line.append(byte)
            }
        }
        if quoted { line.append(0x22) }
    }
}
