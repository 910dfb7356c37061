// Who calls: what a message says of its sender where it says nothing itself. Only words; the service knows better who it is.
import Control
import Mail
import Unix

struct Identity {
    /// Of the host; nil: control/hostname cannot be read.
    private let hostname: [UInt8]?
    private let mailbox: Address?
    private let login: [UInt8]
    /// The name of the person, from NAME or the account.
    let fullName: [UInt8]

    init(_ home: Home, _ environment: Environment) {
        hostname = try? Array(Control(home.control).text(.hostname).utf8)
        let uid = User.current.uid
        // A mailbox' own user sends as that mailbox.
        if case .mailbox(let own) = try? Mailboxes(home.mailboxes).named("#\(uid)") { mailbox = own } else { mailbox = nil }
        let account = Identity.account(uid)
        login = account?.first ?? Array(String(uid).utf8)
        // Fields of old hang on it by commas; an ampersand stands for the login name.
        let described = account.flatMap { $0.count > 4 ? $0[4].prefix { $0 != 0x2c } : nil } ?? []
        let capital = login.prefix(1).map(\.uppercased) + login.dropFirst()
        fullName = environment["NAME"].map { Array($0.utf8) } ?? described.flatMap { $0 == 0x26 ? capital : [$0] }
    }

    /// The line of /etc/passwd: static programs have no name service.
    private static func account(_ uid: UInt32) -> [[UInt8]]? {
        guard let text = try? Path.contents("/etc/passwd", limit: 1 << 20) else { return nil }
        return text.split(separator: 0x0a).lazy.map { line in line.split(separator: 0x3a, omittingEmptySubsequences: false).map { Array($0) } }
            .first { $0.count > 2 && $0[2] == Array(String(uid).utf8) }
    }

    /// What is added to an address without a domain.
    func domain() throws(Trouble) -> [UInt8] {
        guard let hostname else { throw Trouble("the host's name is not known: control/hostname cannot be read", .configuration) }
        return hostname
    }

    /// For EHLO.
    var greeting: [UInt8] { hostname ?? Array("localhost".utf8) }

    func address() throws(Trouble) -> Address { if let mailbox { mailbox } else { Address(localPart: login, domain: try domain()) } }
}
