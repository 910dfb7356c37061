// What a value must be besides well-formed: bounds that RFC 5321 sets, names that exist. The programs take whatever the
// control files say; here, where a person can still answer, mistakes are named.
import Control
import Mail
import Provisioning
import Unix

enum SettingRules {
    /// Who reads a setting, and so when a change is felt.
    enum Reader { case session, qrunner, qrunnerStart, services(String) }

    static func reader(_ setting: Setting) -> Reader {
        switch setting.name {
        case "queue-lifetime", "deliveries", "delay-notice", "routes", "connections", "connections-per-destination": .qrunner
        case "sessions", "sessions-per-address", "connections-per-minute": .services("semail-inbound semail-outbound semail-outbound-tls")
        case "outbound-addresses": .services("semail-outbound")
        case "mailbox-uids": .qrunnerStart
        case "portal-listen", "portal-url", "webmail-url": .services("semail-portal")
        default: .session
        }
    }

    /// The least a server may allow, and the section that says so, if one does.
    private static let least: [String: (number: Int, why: String)] = [
        "message-size": (64 << 10, "RFC 5321 4.5.3.1.7: 64K at least"),
        "recipients": (100, "RFC 5321 4.5.3.1.8: 100 at least"),
        "command-length": (512, "RFC 5321 4.5.3.1.4: 512 at least"),
        "line-length": (1000, "RFC 5321 4.5.3.1.6: 1000 at least"),
        "hops": (100, "RFC 5321 6.3: 100 at least"),
        "messages-per-session": (1, "1 at least"), "errors": (1, "1 at least"), "deliveries": (1, "1 at least"), "sessions": (1, "1 at least"),
        "idle-time": (1, "1s at least"), "session-time": (1, "1s at least"),
    ]

    /// The value to be written.
    static func check(_ setting: Setting, _ value: String, _ home: Home) throws -> String {
        guard setting.accepts(value), !value.utf8.contains(0) else {
            throw Failure("\"\(value)\" is no value for \(setting.name): \(form(setting.kind))")
        }
        if let least = least[setting.name], let number = setting.number(value), number < least.number {
            throw Failure("\(value) is too little for \(setting.name) (\(least.why))")
        }
        switch setting.name {
        case "hostname": return try Name.hostname(value)
        case "postmaster": if !value.isEmpty { try requireMailbox(value, home) }
        case "aliases":
            for (alias, targets) in aliases(value) {
                guard Address(alias) != nil else { throw Failure("\"\(alias)\" is no address; a line of aliases is: address mailbox...") }
                guard !targets.isEmpty else { throw Failure("\(alias) has no mailbox behind it; a line of aliases is: address mailbox...") }
                for target in targets { try requireMailbox(target, home) }
            }
        case "outbound-addresses":
            for line in value.split(whereSeparator: \.isNewline) where !line.hasPrefix("#") && !Endpoint.isAddress(String(line)) {
                throw Failure("\"\(line)\" is no address: give IPv4 or IPv6 addresses of this host, one per line, such as 172.30.0.1")
            }
        case "domain": return value.isEmpty ? value : try Name.hostname(value)
        case "volumes": guard ["directory", "image", "lvm"].contains(value) else { throw Failure("\(value) is no kind of volume: directory, image or lvm") }
        case "container-network": do { _ = try ContainerNetwork(value) } catch { throw Failure(error.text) }
        case "routes": do { _ = try Routes(value.split(whereSeparator: \.isNewline).map(String.init).filter { !$0.hasPrefix("#") }) } catch { throw Failure(error.text) }
        default: break
        }
        return value
    }

    static func aliases(_ text: String) -> [(String, [String])] {
        text.split(whereSeparator: \.isNewline).filter { !$0.hasPrefix("#") }.compactMap { line in
            let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" }).map(String.init)
            return words.isEmpty ? nil : (words[0], Array(words.dropFirst()))
        }
    }

    private static func requireMailbox(_ text: String, _ home: Home) throws {
        guard let address = Address(text) else { throw Failure("\"\(text)\" is no address: give it whole, such as anna@example.org") }
        guard try Mailboxes(home.mailboxes).find(address) != nil else {
            throw Failure("there is no mailbox \(text): make it first, with semail mailbox create OWNER \(text)")
        }
    }

    static func form(_ kind: Kind) -> String {
        switch kind {
        case .text: "it is one line of text"
        case .count: "it is a whole number, such as 100"
        case .size: "it is a number of octets, such as 2048, 64K, 50M or 1G"
        case .duration: "it is a time, such as 90s, 5m, 1h or 5d"
        case .choice: "it is yes or no"
        case .range: "it is a range of uids, such as 30000-59999"
        case .lines: "it is lines of text"
        }
    }
}
