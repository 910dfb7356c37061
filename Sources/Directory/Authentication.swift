// "Are these the right user and password?", asked of the directory: exactly one entry has the user's name, and the directory lets that
// entry in with the password. Nothing of an entry leaves this room but the name, home and shell of a user who has proved to be that.
import CLDAP
import Unix

/// A user as the directory knows them.
public struct DirectoryUser: Equatable, Sendable {
    /// In the directory's spelling.
    public let uid: String
    /// nil: the directory does not say.
    public let home: String?
    /// nil: the directory does not say.
    public let shell: String?
    public let membership: AdminMembership

    /// For those who tell each other of users.
    public init(uid: String, home: String?, shell: String?, membership: AdminMembership) {
        self.uid = uid
        self.home = home
        self.shell = shell
        self.membership = membership
    }
}

/// Whether a user is one of the administrators.
public enum AdminMembership: Equatable, Sendable {
    case member, none
    /// That cannot be told, and why: such a user is none.
    case unknown(String)
}

/// What the directory says of a user and a password.
public enum DirectoryAnswer: Equatable, Sendable {
    case accepted(DirectoryUser)
    case refused(DirectoryRefusal)
    /// No server has said yes or no: of the last one tried, why.
    case unavailable(String)
}

/// Why a user was refused, for the log. The user hears one answer for all of them.
public enum DirectoryRefusal: String, Sendable {
    case malformed, unknown, ambiguous, password
}

/// The user directory: some servers with the same content.
public struct UserDirectory: Sendable {
    private let settings: DirectorySettings

    /// Connects to nobody yet.
    public init(_ settings: DirectorySettings) { self.settings = settings }

    /// Asks the servers in their order, those to be avoided last, until one has an answer. `user` as a stranger typed it. Takes at most
    /// five seconds per server, beside what looking up its host's name takes. `silent`: servers that had no answer and cost time.
    public func authenticate(_ user: [UInt8], _ password: borrowing Secret, avoiding avoided: [String] = []) -> (answer: DirectoryAnswer, silent: [String]) {
        guard 1...255 ~= user.count, !user.contains(0) else { return (.refused(.malformed), []) }
        // A bind with a name and no password succeeds, as nobody (RFC 4513 5.1.2). What a NUL ends early would be such a one.
        guard 1...512 ~= password.count, password.isPlain else { return (.refused(.malformed), []) }
        let servers = settings.servers.filter { !avoided.contains($0) } + settings.servers.filter(avoided.contains)
        var reason = "", silent: [String] = []
        for (index, server) in servers.enumerated() {
            let started = Clock.monotonicMilliseconds()
            do throws(Unavailable) { return (try ask(server, index < servers.count - 1 ? .first : .last, user, password), silent) } catch { reason = error.text }
            // One that refuses connections may be back at any moment, and asking it costs nothing.
            if Clock.monotonicMilliseconds() - started > 500 { silent.append(server) }
        }
        return (.unavailable(reason), silent)
    }

    /// Whether a server could be asked about users: it answers, lets the searcher in, and has the base. For a doctor; of nobody in particular.
    public func look(at server: String) throws(DirectoryFault) {
        do throws(Unavailable) {
            let connection = try DirectoryConnection.open(server, settings, .last)
            if !settings.searcher.isEmpty { try connection.bind(settings.searcher, password: settings.searcherPassword) }
            _ = try connection.search(settings.base, settings.filter.text(Array("semail-doctor".utf8)), ["uid"])
        } catch { throw DirectoryFault(text: error.text) }
    }

    private func ask(_ server: String, _ patience: Patience, _ user: [UInt8], _ password: borrowing Secret) throws(Unavailable) -> DirectoryAnswer {
        let connection = try DirectoryConnection.open(server, settings, patience)
        if !settings.searcher.isEmpty { try connection.bind(settings.searcher, password: settings.searcherPassword) }
        let found = try connection.search(
            settings.base, settings.filter.text(user), settings.filter.attributes + ["uid", "homeDirectory", "loginShell"])
        guard found.count > 0 else { return .refused(.unknown) }
        guard found.count == 1 else { return .refused(.ambiguous) }
        // A directory also finds what is merely alike: other spaces, other widths of letters. Each spelling would be a name of its own
        // for those who count wrong guesses; so only the letters' case may differ.
        var names: [[UInt8]] = []
        for attribute in settings.filter.attributes { names += found.values(attribute) }
        guard names.contains(where: { UserDirectory.isSame($0, user) }) else { return .refused(.unknown) }
        let uids = found.values("uid")
        guard let uid = uids.count == 1 ? uids[0] : uids.first(where: { UserDirectory.isSame($0, user) }) else { return .refused(.ambiguous) }

        var membership = AdminMembership.none
        let code = try found.withName { name throws(Unavailable) in
            guard let name, name.pointee != 0 else { return LDAP_INVALID_CREDENTIALS }
            // Before the bind: it is the searcher who may look at groups, and perhaps not the user.
            membership = membershipOf(String(cString: name), uid, connection)
            return try check(connection, name, password)
        }
        guard code == LDAP_SUCCESS else { return .refused(.password) }
        guard let name = UserDirectory.text(uid) else { return .refused(.malformed) }
        return .accepted(DirectoryUser(
            uid: name, home: found.values("homeDirectory").first.flatMap(UserDirectory.text), shell: found.values("loginShell").first.flatMap(UserDirectory.text),
            membership: membership))
    }

    /// The group's own entry, compared by the directory; groups within groups are not looked into. A group that cannot be looked at makes
    /// nobody an administrator, and keeps nobody out.
    private func membershipOf(_ name: String, _ uid: [UInt8], _ connection: borrowing DirectoryConnection) -> AdminMembership {
        if settings.adminGroup.isEmpty { return .none }
        let entry = Filter.escaped(Array(name.utf8)), value = Filter.escaped(uid)
        do throws(Unavailable) {
            return try connection.matches(settings.adminGroup, "(|(member=\(entry))(uniqueMember=\(entry))(memberUid=\(value)))") ? .member : .none
        } catch { return .unknown(error.text) }
    }

    /// LDAP_SUCCESS, or LDAP_INVALID_CREDENTIALS for every way of saying no; all else is the server's trouble.
    private func check(_ connection: borrowing DirectoryConnection, _ name: UnsafePointer<CChar>, _ password: borrowing Secret) throws(Unavailable) -> Int32 {
        var result: Result<Int32, Unavailable> = .success(LDAP_OTHER)
        let count = password.count
        password.withBytes { bytes in
            do throws(Unavailable) { result = .success(try connection.bind(name, password: bytes, count: count)) } catch { result = .failure(error) }
        }
        let code = try result.get()
        switch code {
        case LDAP_SUCCESS: return LDAP_SUCCESS
        // Wrong; no password at all; locked, by some servers' words; the entry has gone meanwhile.
        case LDAP_INVALID_CREDENTIALS, LDAP_INAPPROPRIATE_AUTH, LDAP_UNWILLING_TO_PERFORM, LDAP_CONSTRAINT_VIOLATION, LDAP_NO_SUCH_OBJECT:
            return LDAP_INVALID_CREDENTIALS
        default: throw connection.unavailable("bind as the user", code)
        }
    }

    /// ASCII letters in any case; every other octet as it is.
    private static func isSame(_ left: [UInt8], _ right: [UInt8]) -> Bool {
        func small(_ byte: UInt8) -> UInt8 { 0x41...0x5a ~= byte ? byte + 32 : byte }
        return left.count == right.count && zip(left, right).allSatisfy { small($0) == small($1) }
    }

    /// What can be a variable of an environment.
    private static func text(_ value: [UInt8]) -> String? {
        value.isEmpty || value.contains(where: { $0 < 0x20 || $0 == 0x7f }) ? nil : String(validating: value, as: UTF8.self)
    }
}
