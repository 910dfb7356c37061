// Numbers as people say them. Pure.
import Mail

enum Words {
    /// `12s`, `3m`, `2h 5m`, `4d 1h`
    static func duration(_ seconds: Int) -> String {
        switch max(0, seconds) {
        case ..<60: "\(max(0, seconds))s"
        case ..<3600: "\(seconds / 60)m"
        case ..<86400: "\(seconds / 3600)h" + (seconds / 60 % 60 == 0 ? "" : " \(seconds / 60 % 60)m")
        default: "\(seconds / 86400)d" + (seconds / 3600 % 24 == 0 ? "" : " \(seconds / 3600 % 24)h")
        }
    }

    /// `512`, `4.2K`, `50M`
    static func size(_ octets: UInt64) -> String {
        var value = Double(octets)
        var unit = ""
        for next in ["K", "M", "G", "T", "P"] where value >= 1024 {
            value /= 1024
            unit = next
        }
        let tenths = Int(value * 10)
        return unit.isEmpty || tenths % 10 == 0 || value >= 100 ? "\(Int(value))\(unit)" : "\(tenths / 10).\(tenths % 10)\(unit)"
    }

    static func size(_ octets: Int) -> String { size(UInt64(max(0, octets))) }

    /// `2026-11-23T21:05:13Z`
    static func time(_ seconds: Int) -> String {
        let parts = MailDate.short(seconds: seconds).split(separator: " ")
        return "\(parts[0])T\(parts[1])Z"
    }

    static func count(_ number: Int, _ one: String, _ many: String) -> String { "\(number) \(number == 1 ? one : many)" }
}
