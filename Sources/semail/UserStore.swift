// The people of the directory, as `semail user` changes them. By libldap, over one connection, and not by ldapadd and its like: each
// operation has its own result, so that of a thousand people the one that is refused is named with its line and the others are added; no
// password is ever in an argument or a file; and there is no LDIF to be made in which a value could pass for syntax.
import Control
import Directory
import Mail
import Unix

struct PeopleStore: ~Copyable {
    private let manager: DirectoryManager
    private let isRootOfHost: Bool
    var base: String { manager.settings.base }

    /// As whom the setting ldap-manager-dn says; without it as whom the kernel says this process is, over ldapi://.
    init(_ home: Home) throws {
        let control = try Control(home.control)
        let settings = try PeopleStore.settings(control)
        let manager = try control.text(.ldapManagerDN)
        var password: [UInt8] = []
        if !manager.isEmpty { password = Array(((try? Path.contents(home.control + "/ldap-manager-password", limit: 1024)) ?? []).prefix { $0 != 0x0a && $0 != 0 }) }
        let connected = try DirectoryManager(settings, manager: manager, password: password)
        isRootOfHost = manager.isEmpty
        self.manager = connected
    }

    /// Without a searcher: the manager, for one, needs none.
    static func settings(_ control: borrowing Control, searcher: String = "", searcherPassword: [UInt8] = []) throws -> DirectorySettings {
        try DirectorySettings(
            servers: control.text(.ldapURI), base: control.text(.ldapBase), filter: control.text(.ldapFilter), searcher: searcher, searcherPassword: searcherPassword,
            tls: control.text(.ldapTLS), authorities: control.text(.ldapCA), adminGroup: control.text(.ldapAdminGroup))
    }

    // MARK: Looking

    /// The name of a new entry. A uid (Name.owner) has no sign in it that would have to be escaped (RFC 4514 2.4).
    func name(_ uid: String) -> String { "uid=\(uid),\(base)" }

    private static let attributes = Person.known + ["uid", "userPassword"]

    /// nil: there is nobody. Two of one uid are a fault that only a person can mend.
    func find(_ uid: String) throws -> DirectoryEntry? {
        let found = try manager.entries(base, having: "uid", Array(uid.utf8), reading: PeopleStore.attributes)
        if found.count > 1 {
            let names = found.map(\.name).joined(separator: "; ")
            throw DirectoryFault(text: "\(found.count) entries have the uid \(uid): \(names); none of them can sign in", isOfEntry: true)
        }
        return found.first
    }

    func require(_ uid: String) throws -> DirectoryEntry {
        guard !uid.isEmpty, let entry = try find(uid) else { throw Failure("there is no \(uid) under \(base): semail user list shows who there is") }
        return entry
    }

    func all(_ body: (DirectoryEntry) -> Void) throws {
        try manager.search(base, having: "uid", reading: ["uid", "givenName", "sn", "cn", "mail"]) { entry in body(entry) }
    }

    /// Whether a missing userPassword means that there is none, and not that this manager may not see it.
    func seesPasswords() throws -> Bool {
        if isRootOfHost { return true }
        var sees = false
        try manager.search(base, having: "userPassword", reading: ["userPassword"]) { entry in if !entry.values("userPassword").isEmpty { sees = true } }
        return sees
    }

    /// How many have a password that is not hashed: whoever gets hold of the database has it.
    func unhashed() throws -> Int {
        var count = 0
        try manager.search(base, having: "userPassword", reading: ["userPassword"]) { entry in
            if entry.values("userPassword").contains(where: { $0.first != 0x7b }) { count += 1 }
        }
        return count
    }

    /// The address of an owner's mailbox, in whatever state it is; nil: they have none.
    static func mailbox(of owner: String, _ home: Home) throws -> String? {
        guard !owner.contains("/"), !owner.contains("\0") else { return nil }
        do throws(SystemError) { return String(decoding: try Directory(searching: home.mailboxes).linkTarget("~" + owner), as: UTF8.self) } catch {
            if error.isMissing || error.isTooLong { return nil }
            throw error
        }
    }

    // MARK: Changing

    func add(_ person: Person) throws {
        var attributes: [(String, [[UInt8]])] = [("objectClass", [Array("inetOrgPerson".utf8)]), ("uid", [Array(person.uid.utf8)])]
        for (name, values) in person.attributes { attributes.append((name, values.map { Array($0.utf8) })) }
        if person.values("cn").isEmpty { attributes.append(("cn", [Array(person.fullName.utf8)])) }
        if case .hashed(let hash)? = person.password { attributes.append(("userPassword", [Array(hash.utf8)])) }
        try manager.add(name(person.uid), attributes)
    }

    /// What an entry lacks of what is said of the person. What is not said stays as it is.
    func changes(_ person: Person, _ entry: DirectoryEntry) -> [DirectoryChange] {
        var wanted = person.attributes.map { ($0.name, $0.values.map { Array($0.utf8) }) }.filter { Set(entry.values($0.0)) != Set($0.1) }
        let isRenamed = wanted.contains { $0.0 == "sn" || $0.0 == "givenName" }
        if isRenamed, person.values("cn").isEmpty { wanted.append(("cn", [Array(person.fullName.utf8)])) }
        return wanted.map { .set($0.0, $0.1) }
    }

    func change(_ entry: DirectoryEntry, _ changes: [DirectoryChange]) throws { try manager.change(entry.name, changes) }

    func setPassword(of uid: String, _ text: [UInt8]) throws { try manager.setPassword(of: name(uid), to: Secret(copying: text)) }
    func setPassword(of entry: DirectoryEntry, _ text: [UInt8]) throws { try manager.setPassword(of: entry.name, to: Secret(copying: text)) }
    /// Of somebody who has none.
    func setHash(of entry: DirectoryEntry, _ hash: String) throws { try manager.change(entry.name, [.set("userPassword", [Array(hash.utf8)])]) }

    /// Whether they were an administrator. The membership goes first: somebody who gets this uid later must not have it.
    func remove(_ entry: DirectoryEntry) throws -> Bool {
        let wasAdmin = manager.settings.adminGroup.isEmpty ? false : try removeAdmin(entry)
        try manager.remove(entry.name)
        return wasAdmin
    }

    // MARK: Administrators

    /// By the group's own kind: the attribute, and how a person is called in it. nil: the directory has no such entry.
    private func membership(_ entry: DirectoryEntry) throws -> (attribute: String, value: [UInt8], members: [[UInt8]])? {
        guard let group = try manager.entry(manager.settings.adminGroup, ["objectClass", "member", "uniqueMember", "memberUid"]) else { return nil }
        let classes = group.values("objectClass").map { String(decoding: $0, as: UTF8.self).lowercased() }
        if classes.contains("posixgroup") { return ("memberUid", entry.values("uid").first ?? [], group.values("memberUid")) }
        let attribute = classes.contains("groupofuniquenames") ? "uniqueMember" : "member"
        return (attribute, Array(entry.name.utf8), group.values(attribute))
    }

    private func isIn(_ members: [[UInt8]], _ value: [UInt8]) -> Bool { members.contains { $0.map(\.lowercased) == value.map(\.lowercased) } }

    /// Whether this changed something.
    func makeAdmin(_ entry: DirectoryEntry) throws -> Bool {
        let name = manager.settings.adminGroup
        guard !name.isEmpty else { throw Failure("the setting ldap-admin-group names no entry: semail config ldap-admin-group DN") }
        guard let group = try membership(entry) else {
            // A groupOfNames cannot be without a member (RFC 4519 3.5).
            let common = name.prefix { $0 != "," }
            guard common.lowercased().hasPrefix("cn=") else { throw Failure("there is no \(name), and I make only entries that begin with cn=") }
            try manager.add(name, [
                ("objectClass", [Array("groupOfNames".utf8)]), ("cn", [Array(common.dropFirst(3).utf8)]), ("member", [Array(entry.name.utf8)]),
            ])
            return true
        }
        if isIn(group.members, group.value) { return false }
        try manager.change(name, [.insert(group.attribute, group.value)])
        return true
    }

    func removeAdmin(_ entry: DirectoryEntry) throws -> Bool {
        guard !manager.settings.adminGroup.isEmpty, let group = try membership(entry), isIn(group.members, group.value) else { return false }
        // The last one: the group goes with its member.
        if group.members.count == 1, group.attribute != "memberUid" { try manager.remove(manager.settings.adminGroup) } else {
            try manager.change(manager.settings.adminGroup, [.take(group.attribute, group.value)])
        }
        return true
    }

    /// Uids, and names of entries in small letters.
    func admins() throws -> Set<String> {
        let name = manager.settings.adminGroup
        guard !name.isEmpty, let group = try manager.entry(name, ["member", "uniqueMember", "memberUid"]) else { return [] }
        return Set(["member", "uniqueMember", "memberUid"].flatMap { group.values($0) }.map { String(decoding: $0, as: UTF8.self).lowercased() })
    }
}
