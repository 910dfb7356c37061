// The home: one directory that holds everything. SEMAIL_HOME names it.
import Mail
import Unix

public struct Home: Sendable {
    public static let installed = "/var/lib/semail"

    public let path: String

    public init(_ environment: Environment) { path = environment["SEMAIL_HOME"] ?? Home.installed }
    public init(path: String) { self.path = path }

    public var control: String { path + "/control" }
    /// Keys that sign mail, a directory for each domain.
    public var keys: String { path + "/control/dkim" }
    public var mailboxes: String { path + "/mailboxes" }
    public var queue: String { path + "/queue" }
    public var run: String { path + "/run" }
    public var mounts: String { path + "/mnt" }
    /// Images of volumes, one per owner.
    public var volumes: String { path + "/volumes" }
    /// What the portal asks for, and how far it is.
    public var requests: String { path + "/requests" }
    /// Keys by which people get into their containers.
    public var ssh: String { path + "/ssh" }
    /// The FIFO by which a queue id reaches qrunner.
    public var trigger: String { path + "/run/trigger" }
    /// Where sessions count what each mailbox has sent.
    public var budgets: String { path + "/run/budgets" }
    /// The socket of those who know passwords.
    public var authentication: String { path + "/run/auth" }
    /// The socket by which the admin's commands reach qrunner.
    public var qrunnerSocket: String { path + "/run/qrunner" }
}

/// Who gets the mail for an address: itself, an alias' targets, or postmaster's mailbox.
public enum Resolution: Equatable {
    case mailboxes([(Address, Mailbox)])
    case unknown

    public static func == (left: Resolution, right: Resolution) -> Bool {
        switch (left, right) {
        case (.unknown, .unknown): true
        case (.mailboxes(let a), .mailboxes(let b)): a.map(\.0) == b.map(\.0) && a.map(\.1) == b.map(\.1)
        default: false
        }
    }
}

public struct Resolver: ~Copyable {
    private let control: Control
    private let mailboxes: Mailboxes

    public init(_ home: Home) throws(SystemError) {
        let control = try Control(home.control)
        let mailboxes = try Mailboxes(home.mailboxes)
        self.control = control
        self.mailboxes = mailboxes
    }

    /// `localAddress`: of this end of the connection, if there is one; `user@[that]` is for this host.
    public func resolve(_ written: Address, hostname: [UInt8], localAddress: String = "") throws -> Resolution {
        var address = written
        // A bare postmaster, or an address literal that is ours, means this host (RFC 5321 4.5.1).
        if address.domain.isEmpty || address.hasLiteralDomain && address.domain.map(\.lowercased) == Resolver.literal(localAddress) {
            address = address.with(domain: hostname)
        }
        if let mailbox = try mailboxes.find(address) { return .mailboxes([(address, mailbox)]) }
        if let targets = try alias(address.key) { return try follow(targets) }
        if address.isNamed("postmaster") || address.isNamed("abuse"),
           try address.domain.map(\.lowercased) == hostname.map(\.lowercased) || mailboxes.hosts(domain: address.domain) {
            let named = try control.text(.postmaster)
            let target = named.isEmpty ? Address(localPart: Array("postmaster".utf8), domain: hostname) : Address(named)
            guard let target else { throw ControlError(text: "control/postmaster: \"\(named)\" is no address") }
            return try follow([target])
        }
        return .unknown
    }

    /// Whether mail for the domain is for this host: it has mailboxes here, or is the host itself.
    public func isOurs(_ address: Address, hostname: [UInt8], localAddress: String = "") throws(SystemError) -> Bool {
        let domain = address.domain.map(\.lowercased)
        if domain.isEmpty || domain == hostname.map(\.lowercased) || domain == Resolver.literal(localAddress) { return true }
        return try mailboxes.hosts(domain: domain)
    }

    public func named(_ link: String) throws(SystemError) -> Mailboxes.Named { try mailboxes.named(link) }

    private static func literal(_ address: String) -> [UInt8] {
        Array((address.contains(":") ? "[IPv6:\(address)]" : "[\(address)]").utf8).map(\.lowercased)
    }

    /// Targets are mailboxes, never aliases again: so there are no loops.
    private func follow(_ targets: [Address]) throws -> Resolution {
        var found: [(Address, Mailbox)] = []
        for target in targets {
            guard let mailbox = try mailboxes.find(target) else {
                throw ControlError(text: "\(String(decoding: target.bytes, as: UTF8.self)) should get this mail and has no mailbox")
            }
            found.append((target, mailbox))
        }
        return .mailboxes(found)
    }

    private func alias(_ key: [UInt8]) throws -> [Address]? {
        for line in try control.lines(.aliases) {
            let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" })
            guard words.count >= 2, Array(words[0].utf8).map(\.lowercased) == key else { continue }
            return try words.dropFirst().map { word in
                guard let target = Address(String(word)) else { throw ControlError(text: "control/aliases: \"\(word)\" is no address") }
                return target
            }
        }
        return nil
    }
}
