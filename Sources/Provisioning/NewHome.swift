// Making a home: the layout, the host's name, and postmaster's mailbox. What is there already stays as it is.
import Control
import Mail
import Unix

public struct NewHome {
    public let home: Home
    /// The one in force, which an older home may have had already.
    public let hostname: String
    /// Paths that were made; none when the home was complete.
    public private(set) var made: [String] = []
    public private(set) var postmaster: Address?

    public init(_ home: Home, hostname: String, layout: Layout) throws {
        let wanted = try Name.hostname(hostname)
        try NewHome.require(home)
        made = try layout.make()
        self.home = home

        let control = try Control(home.control)
        if control.isSet(.hostname) {
            self.hostname = try control.text(.hostname)
        } else {
            try Entry.makeFile(Setting.hostname.name, in: Directory(home.control), with: Array((wanted + "\n").utf8), mode: 0o644)
            self.hostname = wanted
            made.append(home.control + "/" + Setting.hostname.name)
        }
        try makePostmaster(control)
        try Directory(home.path).flush()
    }

    private mutating func makePostmaster(_ control: borrowing Control) throws {
        let named = try control.text(.postmaster)
        if !named.isEmpty { postmaster = Address(named); return }
        let register = try MailboxRegister(home)
        // One that was made under an earlier name of the host stays; `semail doctor` tells whether its mail arrives.
        if let entry = try register.entries().first(where: { $0.mailbox?.owner == Name.postmaster }) { postmaster = entry.address; return }
        let address = try Name.mailbox(Name.postmaster + "@" + hostname)
        if case .made(let mailbox) = try Making(home).run(Wish(owner: Name.postmaster, address: address, isAdmins: true)) { made.append(mailbox.maildir) }
        postmaster = address
    }

    /// A home is made in an empty or missing directory, or completed.
    private static func require(_ home: Home) throws {
        guard home.path.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7f }) else { throw ProvisioningError("a home's path may have no control characters") }
        // The kernel's limit for the path of a socket is 107 octets.
        guard home.qrunnerSocket.utf8.count < 108 else {
            throw ProvisioningError("\(home.path) is too long a path: the sockets in it need one of at most \(107 - "/run/qrunner".utf8.count) octets")
        }
        guard let entry = try Entry(home.path) else {
            let parent = home.path.lastIndex(of: "/").map { String(home.path[..<$0]) } ?? ""
            guard try parent.isEmpty || Entry(parent) != nil else { throw ProvisioningError("\(parent) does not exist: make it first") }
            return
        }
        // A link to a directory is as good as one.
        guard let directory = try? Directory(home.path) else {
            throw ProvisioningError("\(home.path) is \(entry.kind.text), not a directory that can be read: choose another path")
        }
        let names = try directory.names().filter { $0 != "lost+found" }
        guard names.isEmpty || names.contains("control") || names.contains("queue") else {
            throw ProvisioningError("\(home.path) is not empty and no home: choose an empty directory, or a path that does not exist yet")
        }
    }
}
