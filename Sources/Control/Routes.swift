// Where mail for a domain goes: to the hosts its MX records name, or where a line of the control file `routes` says.

/// One way out, as remote-relay takes it.
public struct Route: Hashable, Sendable {
    /// How much TLS is wanted; remote-relay(8) explains each.
    public enum Level: String, Sendable { case opportunistic, none, encrypt, verify, implicit }

    /// A domain, a host, or an address in brackets.
    public let destination: String
    public let port: UInt16
    public let level: Level
    /// The destination is a host: its MX records are not asked for.
    public let isHost: Bool
    public let wantsAuthentication: Bool
    /// The line names MX: the domain may be one of ours, and its host this one.
    public let mayBeOurselves: Bool

    /// As the DNS says.
    public init(domain: String) {
        self.init(destination: domain, port: 25, level: .opportunistic, isHost: false, wantsAuthentication: false, mayBeOurselves: false)
    }

    init(destination: String, port: UInt16, level: Level, isHost: Bool, wantsAuthentication: Bool, mayBeOurselves: Bool) {
        self.destination = destination
        self.port = port
        self.level = level
        self.isHost = isHost
        self.wantsAuthentication = wantsAuthentication
        self.mayBeOurselves = mayBeOurselves
    }

    /// remote-relay's flags: m for a host, a for authentication, o for ourselves.
    public var flags: String { (isHost ? "m" : "") + (wantsAuthentication ? "a" : "") + (mayBeOurselves ? "o" : "") }
}

/// The lines of `routes`: `DOMAIN DESTINATION [LEVEL] [auth]`. DOMAIN is a domain, `.DOMAIN` for all beneath it, or `*` for all others;
/// DESTINATION is `mx`, HOST, HOST:PORT, [ADDRESS] or [ADDRESS]:PORT.
public struct Routes: Sendable {
    private let lines: [(pattern: String, words: [Substring])]

    public init(_ lines: [String]) throws(ControlError) {
        var parsed: [(String, [Substring])] = []
        for line in lines {
            let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" })
            guard let pattern = words.first else { continue }
            guard words.count >= 2, Routes.route(String(pattern), Array(words.dropFirst()), domain: "x") != nil else {
                throw ControlError(text: "control/routes: \"\(line)\" is no route: a domain, where its mail goes, and words such as verify or auth (semail-control(5))")
            }
            parsed.append((pattern.lowercased(), Array(words.dropFirst())))
        }
        self.lines = parsed
    }

    /// The line for this very domain, which counts for a domain of ours too.
    public func exact(_ domain: String) -> Route? { find(domain.lowercased(), for: domain) }

    /// The line for this domain, for one above it (the longest), or for all; else as the DNS says.
    public func route(_ domain: String) -> Route {
        let name = domain.lowercased()
        if let route = find(name, for: domain) { return route }
        var rest = Substring(name)
        while let dot = rest.firstIndex(of: ".") {
            if let route = find(String(rest[dot...]), for: domain) { return route }
            rest = rest[rest.index(after: dot)...]
        }
        return find("*", for: domain) ?? Route(domain: domain)
    }

    private func find(_ pattern: String, for domain: String) -> Route? {
        lines.first { $0.pattern == pattern }.flatMap { Routes.route($0.pattern, $0.words, domain: domain) }
    }

    private static func route(_ pattern: String, _ words: [Substring], domain: String) -> Route? {
        var level = Route.Level.opportunistic
        var wantsAuthentication = false
        for word in words.dropFirst() {
            if word == "auth" { wantsAuthentication = true } else if let named = Route.Level(rawValue: String(word)) { level = named } else { return nil }
        }
        if words[0] == "mx" {
            return Route(destination: domain, port: 25, level: level, isHost: false, wantsAuthentication: wantsAuthentication, mayBeOurselves: true)
        }
        guard let (host, port) = target(words[0], level) else { return nil }
        return Route(destination: host, port: port, level: level, isHost: true, wantsAuthentication: wantsAuthentication, mayBeOurselves: false)
    }

    /// HOST, HOST:PORT, [ADDRESS], [ADDRESS]:PORT.
    private static func target(_ text: Substring, _ level: Route.Level) -> (String, UInt16)? {
        var host = text
        var port: UInt16 = level == .implicit ? 465 : 25
        let search = text.hasPrefix("[") ? text.firstIndex(of: "]").map { text[$0...] } : text
        guard let search else { return nil }
        if let colon = search.firstIndex(of: ":") {
            guard let number = UInt16(search[search.index(after: colon)...]), number > 0 else { return nil }
            port = number
            host = text[..<colon]
        }
        return host.isEmpty ? nil : (String(host), port)
    }
}
