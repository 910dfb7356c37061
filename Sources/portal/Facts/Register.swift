// Where a person's mailbox stands: the directory that its file is in says it. Only reads; see semail(7).
import Control
import Mail
import Provisioning
import Unix

struct Register: Sendable {
    /// A mailbox' file, and in which directory.
    struct Entry: Sendable, Equatable {
        enum Place: Sendable, Equatable {
            /// mailboxes/.making: its name is reserved; it is being made, or waits for the MX of a domain of one's own.
            case making
            /// mailboxes: mail is let in.
            case here
            /// mailboxes/.leaving: being unmade.
            case leaving
        }

        let place: Place
        let address: String
        let owner: String
        /// nil: the file does not say enough yet.
        let mailbox: Mailbox?

        var domain: String { String(address[(address.lastIndex(of: "@") ?? address.startIndex)...].dropFirst()) }
    }

    private let home: Home

    init(_ home: Home) { self.home = home }

    private func path(_ place: Entry.Place) -> String {
        switch place {
        case .making: home.mailboxes + "/.making"
        case .here: home.mailboxes
        case .leaving: home.mailboxes + "/.leaving"
        }
    }

    /// nil: this person has none.
    func entry(of owner: String) throws -> Entry? {
        let directory = try Directory(searching: home.mailboxes)
        do throws(SystemError) {
            let name = String(decoding: try directory.linkTarget("~" + owner), as: UTF8.self)
            if let entry = try entry(name, .here), entry.owner == owner { return entry }
        } catch { if !error.isMissing, !error.isTooLong, error.code != 22 /* EINVAL: no link */ { throw error } }
        for place in [Entry.Place.making, .leaving] {
            if let entry = try entries(place).first(where: { $0.owner == owner }) { return entry }
        }
        return nil
    }

    /// All in one of the directories, by address.
    func entries(_ place: Entry.Place) throws -> [Entry] {
        do throws(SystemError) {
            let directory = try Directory(path(place))
            var found: [Entry] = []
            for name in try directory.names() where name.contains("@") && !name.hasPrefix("@") && !name.hasPrefix("~") {
                if let entry = try entry(name, place) { found.append(entry) }
            }
            return found
        } catch {
            if error.isMissing, place != .here { return [] }
            throw error
        }
    }

    private func entry(_ name: String, _ place: Entry.Place) throws(SystemError) -> Entry? {
        guard !name.contains("/") else { return nil }
        do throws(SystemError) {
            let bytes = try Directory(searching: path(place)).contents(name, limit: 65536)
            let mailbox = Mailbox(bytes)
            guard let owner = mailbox?.owner ?? Register.owner(bytes) else { return nil }
            return Entry(place: place, address: name, owner: owner, mailbox: mailbox)
        } catch {
            if error.isMissing || error.isTooLong { return nil }
            throw error
        }
    }

    private static func owner(_ text: [UInt8]) -> String? {
        text.split(separator: 10).first { $0.starts(with: Array("owner ".utf8)) }.map { String(decoding: $0.dropFirst(6), as: UTF8.self) }
    }

    /// Whether a mailbox of that name exists, is being made, or is being unmade.
    func isTaken(_ address: String) -> Bool {
        [Entry.Place.here, .making, .leaving].contains { place in
            (try? Directory(searching: path(place)).status(address)) != nil
        }
    }

    /// Whether anybody has a mailbox at the domain, or is getting one.
    func isTaken(domain: String) throws -> Bool {
        if (try? Directory(searching: home.mailboxes).status("@" + domain)) != nil { return true }
        return try [Entry.Place.making, .leaving].contains { try entries($0).contains { $0.domain == domain } }
    }

    /// Room in a mailbox' file system. nil: it cannot be told.
    func space(of owner: String) -> Space? { try? Space(of: home.mounts + "/" + owner) }

    /// What its container is doing.
    func container(of owner: String) -> ContainerState? {
        (try? Path.contents(home.run + "/containers/" + owner, limit: 4096)).flatMap { ContainerState(String(decoding: $0, as: UTF8.self)) }
    }

    /// The public keys by which its owner gets into the container.
    func keys(of owner: String) throws -> [SSHKey] { try SSHKeys(home).keys(of: owner) }

    /// By which the owner knows that it is the container that answers; nil: it has none yet.
    func hostKey(of owner: String) -> SSHKey? { try? SSHKeys(home).hostKey(of: owner) }

    /// The DKIM records that a domain should have: lines of name and text, for domain-check.
    func signatures(of domain: String) -> [UInt8] { (try? Path.contents(home.run + "/dkim/" + domain, limit: 65536)) ?? [] }
}
