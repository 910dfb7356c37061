// The mailboxes of a home as their administrator sees them: listed, made, removed. One at a time, under a lock; and in such
// an order that a crash anywhere leaves either no mailbox or a whole one, and the same command again completes the work.
import Control
import Mail
import Unix

public struct MailboxRegister: ~Copyable {
    public struct Listed: Sendable {
        public let address: Address
        /// nil: the file makes no sense.
        public let mailbox: Mailbox?
        /// The file's name in mailboxes/.
        public let name: String
        /// Where the file is.
        public let path: String
    }

    /// Where files of mailboxes are that are being made, or made and not proved: no lookup finds them there.
    public static let making = ".making"
    /// Where they are while they are being unmade.
    public static let leaving = ".leaving"

    public let home: Home
    let directory: Directory
    let control: Control

    public init(_ home: Home) throws(SystemError) {
        let directory = try Directory(home.mailboxes)
        let control = try Control(home.control)
        self.home = home
        self.directory = directory
        self.control = control
    }

    /// The mailboxes that exist; or those being made, or unmade. Sorted by address.
    public func entries(_ inner: String? = nil) throws(SystemError) -> [Listed] {
        guard let inner else { return try MailboxRegister.entries(directory) }
        let directory: Directory
        do throws(SystemError) { directory = try self.directory.directory(inner) } catch {
            if error.isMissing { return [] }
            throw error
        }
        return try MailboxRegister.entries(directory)
    }

    private static func entries(_ directory: borrowing Directory) throws(SystemError) -> [Listed] {
        var result: [Listed] = []
        for name in try directory.names() where !MailboxRegister.isBeside(name) {
            do throws(SystemError) {
                let bytes = try directory.contents(name, limit: 65536)
                result.append(Listed(address: MailboxRegister.address(name), mailbox: Mailbox(bytes), name: name, path: directory.path + "/" + name))
            } catch { if !error.isMissing { throw error } }
        }
        return result
    }

    /// The mailbox of a person, whatever state it is in.
    public func mailbox(of owner: String) throws(SystemError) -> (listed: Listed, inner: String?)? {
        for inner in [nil, MailboxRegister.making, MailboxRegister.leaving] {
            if let entry = try entries(inner).first(where: { $0.mailbox?.owner == owner }) { return (entry, inner) }
        }
        return nil
    }

    /// Markers of domains, and links.
    private static func isBeside(_ name: String) -> Bool { name.hasPrefix("@") || !name.contains("@") && ["~", "#", "["].contains(name.prefix(1)) }

    /// The address from which the container of a mailbox connects: whoever does so sends as that mailbox. nil takes it away.
    public func setContainer(of address: Address, to container: String?) throws {
        guard let name = Mailboxes.fileName(address), (try? directory.status(name)) != nil else { throw ProvisioningError("there is no mailbox \(address.text)") }
        let lock = try lock()
        for link in try directory.names() where link.hasPrefix("[") && (try? directory.linkTarget(link)) == Array(name.utf8) { try directory.remove(link) }
        if let container {
            if (try? directory.linkTarget("[\(container)]")) != nil { throw ProvisioningError("\(container) is another mailbox' container") }
            try directory.replaceLink("[\(container)]", to: name)
        }
        try directory.flush()
        try lock.close()
    }

    /// Domains that postmaster and abuse are answered for.
    public func markers() throws(SystemError) -> [String] { try directory.names().filter { $0.hasPrefix("@") }.map { String($0.dropFirst()) } }

    static func address(_ name: String) -> Address {
        let bytes = Array(name.utf8)
        let at = bytes.lastIndex(of: 0x40) ?? bytes.endIndex
        return Address(localPart: Array(bytes[..<at]), domain: Array(bytes[at...].dropFirst()))
    }

    /// Held by whoever changes mailboxes.
    func lock() throws -> Descriptor {
        let file = try directory.open(".lock", .append)
        let end = Clock.monotonicMilliseconds() + 10_000
        while !Process.lock(file) {
            guard Clock.monotonicMilliseconds() < end else {
                throw ProvisioningError("another command has been changing mailboxes for ten seconds: try again")
            }
            Process.sleep(milliseconds: 50)
        }
        return consume file
    }

    /// The lines of control/aliases: address, then targets.
    public func aliases() throws -> [(address: String, targets: [String])] {
        try control.lines(.aliases).compactMap { line in
            let words = line.split(whereSeparator: { $0 == " " || $0 == "\t" }).map(String.init)
            return words.isEmpty ? nil : (words[0], Array(words.dropFirst()))
        }
    }

    /// Aliases that deliver to this mailbox.
    public func aliases(of address: Address) throws -> [String] {
        try aliases().filter { $0.targets.contains { Address($0)?.key == address.key } }.map(\.address)
    }

    /// Whose mailbox gets what is for postmaster.
    public func postmaster() throws -> Address? {
        let named = try control.text(.postmaster)
        return named.isEmpty ? Address(localPart: Array(Name.postmaster.utf8), domain: Array(try control.text(.hostname).utf8)) : Address(named)
    }

    func uidRange() throws -> ClosedRange<UInt32> { try control.range(.mailboxUids) }
}

extension Address {
    public var text: String { String(decoding: bytes, as: UTF8.self) }
}
