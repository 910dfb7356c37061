// Users, and how a process becomes one.
import CUnix
import Glibc

/// A user and its groups. Static programs have no name service: /etc/passwd and /etc/group are read, or numbers taken.
public struct User: Equatable, Sendable {
    public let name: String
    public let uid: UInt32
    public let gid: UInt32
    /// Groups besides `gid`.
    public let supplementary: [UInt32]

    public init(name: String, uid: UInt32, gid: UInt32, supplementary: [UInt32] = []) {
        self.name = name
        self.uid = uid
        self.gid = gid
        self.supplementary = supplementary
    }

    /// `semail-smtpd`, or numbers: `30001`, `30001:30001`, or with more groups `30001:30001:30002`, as runit's chpst has them: several
    /// users stand in lists with commas. nil: there is no such user.
    public init?(_ text: String) {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        if let uid = UInt32(parts[0]), uid != UInt32.max {
            let groups = parts.dropFirst().compactMap { UInt32($0) }.filter { $0 != UInt32.max }
            // The kernel takes 65536; nobody has use for more than a few.
            guard groups.count == parts.count - 1, groups.count <= 32 else { return nil }
            self.init(name: text, uid: uid, gid: groups.first ?? uid, supplementary: Array(groups.dropFirst()))
            return
        }
        guard parts.count == 1, let entry = User.lines("/etc/passwd").first(where: { $0.first == text }),
              entry.count >= 4, let uid = UInt32(entry[2]), let gid = UInt32(entry[3]) else { return nil }
        let groups = User.lines("/etc/group").compactMap { line -> UInt32? in
            guard line.count >= 4, line[3].split(separator: ",").contains(Substring(text)) else { return nil }
            return UInt32(line[2])
        }
        self.init(name: text, uid: uid, gid: gid, supplementary: groups.filter { $0 != gid })
    }

    public static func group(_ name: String) -> UInt32? {
        lines("/etc/group").first { $0.first == name && $0.count >= 3 }.flatMap { UInt32($0[2]) }
    }

    private static func lines(_ path: String) -> [[String]] {
        guard let bytes = try? Path.contents(path) else { return [] }
        return bytes.split(separator: 10).map { line in
            line.split(separator: 58 /* : */, omittingEmptySubsequences: false).map { String(decoding: $0, as: UTF8.self) }
        }
    }

    public static var current: User { User(name: "\(geteuid())", uid: geteuid(), gid: getegid()) }
    public static var isRoot: Bool { geteuid() == 0 }
}

/// Changes of identity: each is for good.
public enum Become {
    /// Groups, gid, uid, and no capability left. With no root to come from, supplementary groups are given up.
    public static func user(_ user: User) throws(SystemError) {
        let groups = User.isRoot ? user.supplementary : []
        if cunix_become(user.uid, user.gid, groups, groups.count) < 0 { throw SystemError("become", user.name) }
    }

    /// As `user`, but whoever this process starts next may become one of `next`, and nobody else: never root.
    public static func user(_ user: User, startingAs uids: [ClosedRange<UInt32>], gids: [ClosedRange<UInt32>]) throws(SystemError) {
        if cunix_become_keeping_setid(user.uid, user.gid, user.supplementary, user.supplementary.count) < 0 {
            throw SystemError("become", user.name)
        }
        try Sandbox.noNewPrivileges()
        let uidRanges = uids.map { cunix_id_range(first: $0.lowerBound, last: $0.upperBound) }
        let gidRanges = gids.map { cunix_id_range(first: $0.lowerBound, last: $0.upperBound) }
        if cunix_limit_identities(uidRanges, uidRanges.count, gidRanges, gidRanges.count) < 0 { throw SystemError("seccomp") }
    }

    /// Once the next stage has been started, its starter needs no right at all.
    public static func dropCapabilities() throws(SystemError) {
        if cunix_drop_capabilities() < 0 { throw SystemError("capset") }
    }
}
