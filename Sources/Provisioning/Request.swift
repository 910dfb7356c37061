// What the portal may ask of provision: a file of a few `key value` lines, in a grammar that has no room for surprises. It is all that
// crosses from the portal, which the network can reach, to root; nothing in it is believed before it is checked. Pure: text in, a
// request or a refusal out.
import Control
import Mail

public struct Request: Equatable, Sendable {
    /// Larger ones are nobody's honest request: twenty keys of 4096 bits have 16K.
    public static let limit = 65536
    /// SSH keys that a person may have.
    public static let mostKeys = 20

    public enum Wanted: Equatable, Sendable {
        /// Octets of the volume; nil: as the settings say.
        case create(Address, octets: Int?)
        case delete(Address)
        case start, stop, restart, rebuild
        /// All of the person's SSH keys; what was before goes.
        case keys([String])
        /// Look at the MX of one's own domain again.
        case check
        case resize(octets: Int)
        case suspend, resume
        /// A message of one's own that waits in the queue.
        case hold(id: String), release(id: String), retry(id: String), cancel(id: String)
    }

    public let wanted: Wanted
    public let owner: String
    /// The admin who asks for it; nil: the owner does.
    public let admin: String?

    /// The word after `do`.
    public var word: String {
        switch wanted {
        case .create: "create"
        case .delete: "delete"
        case .start: "start"
        case .stop: "stop"
        case .restart: "restart"
        case .rebuild: "rebuild"
        case .keys: "keys"
        case .check: "check"
        case .resize: "resize"
        case .suspend: "suspend"
        case .resume: "resume"
        case .hold: "hold"
        case .release: "release"
        case .retry: "retry"
        case .cancel: "cancel"
        }
    }

    /// Whether a text names a request: 32 hexadecimal digits in small letters.
    public static func isID(_ text: String) -> Bool { text.utf8.count == 32 && text.utf8.allSatisfy { 0x30...0x39 ~= $0 || 0x61...0x66 ~= $0 } }

    public init(_ bytes: [UInt8]) throws(ProvisioningError) {
        guard bytes.count < Request.limit, let text = String(validating: bytes, as: UTF8.self), !text.utf8.contains(where: { $0 < 0x20 && $0 != 0x0a || $0 == 0x7f }) else {
            throw Request.malformed("it is no text of at most 64K")
        }
        var lines: [(key: String, value: String)] = []
        for line in text.split(separator: "\n") {
            guard let space = line.firstIndex(of: " "), space != line.startIndex else { throw Request.malformed("a line has no value") }
            lines.append((String(line[..<space]), String(line[line.index(after: space)...])))
        }
        guard lines.first?.key == "do", let word = lines.first?.value else { throw Request.malformed("the first line is not \"do\"") }
        var fields = Fields(lines.dropFirst())
        owner = try Name.owner(fields.take("owner"))
        switch word {
        case "create":
            let address = try Name.mailbox(fields.take("address"))
            wanted = .create(address, octets: try fields.takeIfThere("size").map(Request.octets))
        case "delete": wanted = .delete(try Request.address(fields.take("address")))
        case "start": wanted = .start
        case "stop": wanted = .stop
        case "restart": wanted = .restart
        case "rebuild": wanted = .rebuild
        case "keys": wanted = .keys(try fields.takeAll("key", most: Request.mostKeys))
        case "check": wanted = .check
        case "resize": wanted = .resize(octets: try Request.octets(fields.take("size")))
        case "suspend": wanted = .suspend
        case "resume": wanted = .resume
        case "hold": wanted = .hold(id: try Request.queueID(fields.take("id")))
        case "release": wanted = .release(id: try Request.queueID(fields.take("id")))
        case "retry": wanted = .retry(id: try Request.queueID(fields.take("id")))
        case "cancel": wanted = .cancel(id: try Request.queueID(fields.take("id")))
        default: throw Request.malformed("there is nothing such as \"\(word)\" to do")
        }
        admin = try fields.takeIfThere("by").map { by throws(ProvisioningError) in try Name.owner(by) }
        try fields.end()
        switch wanted {
        case .resize, .suspend, .resume: if admin == nil { throw Request.malformed("\(word) is an admin's, and no line \"by\" names one") }
        case .create(_, let octets?) where admin == nil: throw Request.malformed("the size \(octets) is an admin's to choose")
        default: break
        }
    }

    static func malformed(_ why: String) -> ProvisioningError { ProvisioningError("the request makes no sense: \(why)", .badRequest) }

    private static func octets(_ text: String) throws(ProvisioningError) -> Int {
        guard let octets = Setting.volumeSize.number(text) else { throw malformed("\"\(text)\" is no size such as 5G") }
        return octets
    }

    /// One that exists need not be of the form that new ones have.
    private static func address(_ text: String) throws(ProvisioningError) -> Address {
        guard let address = Address(text) else { throw ProvisioningError("\"\(text)\" is no address", .wrongAddress) }
        return address
    }

    private static func queueID(_ text: String) throws(ProvisioningError) -> String {
        guard (1...32).contains(text.utf8.count), text.utf8.allSatisfy({ 0x30...0x39 ~= $0 || 0x61...0x7a ~= $0 }) else { throw malformed("\"\(text)\" is no message's id") }
        return text
    }
}

/// The lines after the first: each is taken once, and none may be left.
private struct Fields {
    private var lines: [(key: String, value: String)]

    init(_ lines: ArraySlice<(key: String, value: String)>) { self.lines = Array(lines) }

    mutating func takeAll(_ key: String, most: Int) throws(ProvisioningError) -> [String] {
        let values = lines.filter { $0.key == key }.map(\.value)
        guard values.count <= most else { throw Request.malformed("more than \(most) lines \"\(key)\"") }
        lines.removeAll { $0.key == key }
        return values
    }

    mutating func takeIfThere(_ key: String) throws(ProvisioningError) -> String? { try takeAll(key, most: 1).first }

    mutating func take(_ key: String) throws(ProvisioningError) -> String {
        guard let value = try takeIfThere(key) else { throw Request.malformed("it has no line \"\(key)\"") }
        return value
    }

    func end() throws(ProvisioningError) {
        if let line = lines.first { throw Request.malformed("it has a line \"\(line.key)\"") }
    }
}
