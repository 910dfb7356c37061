// Control files: one value each, in control/NAME. This table is all there is to configure; `semail config` prints it and
// semail-control.5 explains it. There is no parser: a file is read when it is used, as a whole, and is one value.
import Unix

/// How a setting's text is to be understood.
public enum Kind: Sendable {
    case text
    /// A whole number.
    case count
    /// Octets: `100`, `64K`, `50M`, `1G`.
    case size
    /// Seconds: `90s`, `5m`, `1h`, `5d`.
    case duration
    /// `30000-59999`
    case range
    /// `yes` or `no`.
    case choice
    /// One value per line.
    case lines
}

public struct Setting: Sendable {
    /// The control file's name.
    public let name: String
    public let kind: Kind
    /// What holds when there is no file; nil: there must be one.
    public let fallback: String?
    /// A few words for `semail config`.
    public let meaning: String

    init(_ name: String, _ kind: Kind, _ fallback: String?, _ meaning: String) {
        self.name = name
        self.kind = kind
        self.fallback = fallback
        self.meaning = meaning
    }

    public static let hostname = Setting("hostname", .text, nil, "name of this host in greetings and headers")
    public static let postmaster = Setting("postmaster", .text, "", "mailbox for postmaster and abuse; postmaster@hostname if empty")
    public static let aliases = Setting("aliases", .lines, "", "address, then the mailboxes it stands for; one per line")
    public static let messageSize = Setting("message-size", .size, "50M", "largest message accepted")
    public static let recipients = Setting("recipients", .count, "100", "recipients per message")
    public static let commandLength = Setting("command-length", .size, "2048", "longest command line")
    public static let lineLength = Setting("line-length", .size, "64K", "longest line of a message")
    public static let messagesPerSession = Setting("messages-per-session", .count, "1000", "messages per SMTP session")
    public static let errors = Setting("errors", .count, "20", "errors before a client is sent away")
    public static let errorPause = Setting("error-pause", .duration, "1s", "pause after each error")
    public static let idleTime = Setting("idle-time", .duration, "5m", "silence before a client is sent away")
    public static let sessionTime = Setting("session-time", .duration, "1h", "longest SMTP session")
    public static let hops = Setting("hops", .count, "100", "Received lines before a message counts as looping")
    public static let queueLifetime = Setting("queue-lifetime", .duration, "5d", "time a message is tried before it bounces")
    public static let deliveries = Setting("deliveries", .count, "20", "deliveries that run at once")
    public static let mailboxUids = Setting("mailbox-uids", .range, "30000-59999", "uids given to mailboxes")
    public static let sessions = Setting("sessions", .count, "200", "SMTP sessions at once")
    public static let sessionsPerAddress = Setting("sessions-per-address", .count, "20", "SMTP sessions at once from one address; 0: no limit")
    public static let authWithoutTLS = Setting("auth-without-tls", .choice, "no", "whether passwords are taken on connections without TLS: yes or no")
    public static let messagesPerHour = Setting("messages-per-hour", .count, "200", "messages a mailbox may send within an hour; 0: no limit")
    public static let recipientsPerHour = Setting("recipients-per-hour", .count, "1000", "recipients a mailbox may send to within an hour; 0: no limit")
    public static let outboundAddresses = Setting("outbound-addresses", .lines, "", "addresses, besides loopback's, of the outgoing server; one per line")
    public static let routes = Setting("routes", .lines, "", "domain, then where its mail goes instead of where the DNS says; one per line")
    public static let connections = Setting("connections", .count, "50", "connections to other hosts at once")
    public static let connectionsPerDestination = Setting("connections-per-destination", .count, "10", "connections to one destination at once")
    public static let delayNotice = Setting("delay-notice", .duration, "4h", "time after which a sender is told that a message still waits")
    public static let connectionsPerMinute = Setting("connections-per-minute", .count, "120", "new connections per minute from one address; 0: no limit")
    public static let ldapURI = Setting("ldap-uri", .text, "ldapi:///", "servers of the user directory, with spaces between them")
    public static let ldapBase = Setting("ldap-base", .text, "", "entry of the directory under which users are")
    public static let ldapFilter = Setting("ldap-filter", .text, "(uid=%u)", "which entry of the directory is a user's; %u is the user")
    public static let ldapBindDN = Setting("ldap-bind-dn", .text, "", "entry that searches the directory, if not everybody may")
    public static let ldapManagerDN = Setting("ldap-manager-dn", .text, "", "entry that writes to the directory; over ldapi, root does if empty")
    public static let ldapTLS = Setting("ldap-tls", .text, "starttls", "how ldap:// is protected: starttls or none")
    public static let ldapCA = Setting("ldap-ca", .text, "/etc/ssl/certs/ca-certificates.crt", "certificates of the authorities that the directory's is checked by")

    public static let all = [
        hostname, postmaster, aliases, messageSize, recipients, commandLength, lineLength, messagesPerSession, errors,
        errorPause, idleTime, sessionTime, hops, queueLifetime, deliveries, mailboxUids, sessions, sessionsPerAddress,
        connectionsPerMinute,
        authWithoutTLS, messagesPerHour, recipientsPerHour, outboundAddresses, routes, connections, connectionsPerDestination, delayNotice,
        ldapURI, ldapBase, ldapFilter, ldapBindDN, ldapManagerDN, ldapTLS, ldapCA,
    ] + ofHomes

    /// Octets, seconds or a plain number, by the setting's kind; nil if the text is none.
    public func number(_ text: String) -> Int? {
        let units: [Character: Int] = switch kind {
        case .size: ["K": 1 << 10, "M": 1 << 20, "G": 1 << 30]
        case .duration: ["s": 1, "m": 60, "h": 3600, "d": 86400]
        default: [:]
        }
        var digits = text[...]
        var factor = 1
        if let last = text.last, let unit = units[last] {
            factor = unit
            digits = text.dropLast()
        }
        guard !digits.isEmpty, digits.utf8.allSatisfy({ 0x30...0x39 ~= $0 }), let value = Int(digits) else { return nil }
        let (result, overflow) = value.multipliedReportingOverflow(by: factor)
        return overflow || result > kind.most ? nil : result
    }

    public static func range(_ text: String) -> ClosedRange<UInt32>? {
        let parts = text.split(separator: "-", omittingEmptySubsequences: false)
        guard parts.count == 2, text.utf8.allSatisfy({ 0x30...0x39 ~= $0 || $0 == 0x2d }), let first = UInt32(parts[0]), let last = UInt32(parts[1]), first > 0, first <= last, last < UInt32.max else { return nil }
        return first...last
    }

    /// Whether the text is one this setting can take.
    public func accepts(_ text: String) -> Bool {
        switch kind {
        case .text: !text.contains { $0.isNewline || $0 == "\0" }
        case .lines: true
        case .count, .size, .duration: number(text) != nil
        case .range: Setting.range(text) != nil
        case .choice: text == "yes" || text == "no"
        }
    }
}

/// A control file that cannot be used, in words that say what to do.
public struct ControlError: Error {
    public let text: String
}

/// The control directory.
public struct Control: ~Copyable {
    let directory: Directory

    /// Needs only the right to search the directory.
    public init(_ path: String) throws(SystemError) { directory = try Directory(searching: path) }

    /// The value in force, without the line end. Throws when the file is there and cannot be read.
    public func text(_ setting: Setting) throws(ControlError) -> String {
        do throws(SystemError) {
            let bytes = try directory.contents(setting.name)
            var text = String(decoding: bytes, as: UTF8.self)
            if setting.kind.isOneLine { text = String(text.prefix { !$0.isNewline }) }
            while let last = text.last, last.isNewline || last == " " { text.removeLast() }
            return text
        } catch {
            guard error.isMissing else { throw ControlError(text: error.text) }
            guard let fallback = setting.fallback else {
                throw ControlError(text: "control/\(setting.name) is missing: it is the \(setting.meaning)")
            }
            return fallback
        }
    }

    public func number(_ setting: Setting) throws(ControlError) -> Int {
        let text = try text(setting)
        guard let number = setting.number(text) else {
            throw ControlError(text: "control/\(setting.name): \"\(text)\" is not a value I understand (see semail-control(5))")
        }
        return number
    }

    public func range(_ setting: Setting) throws(ControlError) -> ClosedRange<UInt32> {
        let text = try text(setting)
        guard let range = Setting.range(text) else {
            throw ControlError(text: "control/\(setting.name): \"\(text)\" is no range such as 30000-59999")
        }
        return range
    }

    public func isOn(_ setting: Setting) throws(ControlError) -> Bool {
        let text = try text(setting)
        guard setting.accepts(text) else { throw ControlError(text: "control/\(setting.name): \"\(text)\" is neither yes nor no") }
        return text == "yes"
    }

    public func lines(_ setting: Setting) throws(ControlError) -> [String] {
        try text(setting).split(whereSeparator: \.isNewline).map(String.init).filter { !$0.hasPrefix("#") }
    }

    /// Tells one state of a control file from another without reading it; nil: there is none.
    public struct Stamp: Equatable, Sendable {
        let inode: UInt64
        let changedNanoseconds: Int
    }

    public func stamp(_ setting: Setting) -> Stamp? {
        (try? directory.status(setting.name)).map { Stamp(inode: $0.inode, changedNanoseconds: $0.changedNanoseconds) }
    }

    public func isSet(_ setting: Setting) -> Bool { (try? directory.status(setting.name)) != nil }

    public func set(_ setting: Setting, to text: String) throws(SystemError) {
        let mode = (try? directory.status(setting.name).mode) ?? 0o644
        try Directory(directory.path).replace(setting.name, with: Array((text + "\n").utf8), mode: mode)
    }

    public func unset(_ setting: Setting) throws(SystemError) {
        do throws(SystemError) { try directory.remove(setting.name) } catch { if !error.isMissing { throw error } }
    }
}

extension Kind {
    /// Beyond this nobody means it, and sums would overflow: ten years, a pebibyte, a thousand million.
    var most: Int {
        switch self {
        case .duration: 3650 * 86400
        case .size: 1 << 50
        default: 1_000_000_000
        }
    }

    var isOneLine: Bool { if case .lines = self { false } else { true } }
}
