// The process that talks to the directory: a fork, so that it can be locked although what comes after it may be any program, and
// ended although it waits. The libraries it uses (libldap, GnuTLS, the host's name service) see what the network sends and can then
// start nothing, write nothing and read nothing of the mail system; all they can do is answer.
import Directory
import Program
import Unix

enum Asker {
    /// Below the time that auth-check gives: so that this program can still say why.
    private static let seconds = 16

    static func ask(_ settings: DirectorySettings, _ user: [UInt8], _ password: borrowing Secret, _ environment: Environment) throws -> DirectoryAnswer {
        let pipe = try Descriptor.pipe()
        guard try Process.fork() != 0 else {
            Process.endAfter(seconds: seconds)
            try lock(settings)
            try IO.writeAll(pipe.second.raw, encoded(UserDirectory(settings).authenticate(user, password)))
            Process.exit(Ending.done.rawValue)
        }
        let reading = pipe.takeFirst()
        var answer: [UInt8] = []
        while case let more = try IO.readSome(reading.raw, limit: 4096), !more.isEmpty { answer += more }
        if let answer = decoded(answer) { return answer }
        var end = Process.reap()
        while end == nil { Process.sleep(milliseconds: 1); end = Process.reap() }
        if end!.status == 256 + Int32(Signals.alarm) { return .unavailable("no server of the directory has answered within \(seconds) seconds") }
        return .unavailable("the process that asks the directory has ended (status \(end!.status))")
    }

    /// Not a list of what is allowed: which calls a host's name service makes is not known here.
    private static func lock(_ settings: DirectorySettings) throws {
        var sandbox = Sandbox()
        sandbox.allowConnecting()
        // Name service and its configuration, libraries, authorities.
        for path in ["/etc", "/usr", "/lib", "/lib64", "/run/systemd/resolve", "/run/resolvconf", "/proc/sys"] {
            sandbox.allow(path, [.readFile, .readDirectory])
        }
        sandbox.allow(settings.authorities, [.readFile])
        var missing: [String] = []
        try sandbox.lockPaths(&missing)
        for sentence in missing { Log.warning("unprotected", .text("reason", sentence)) }
        try Sandbox.deny(.execve, .ptrace, .kill, .linkat, .unlinkat, .renameat, .renameat2, .mkdirat, .fchmod, .fchown, .setresuid, .setresgid, .setgroups)
    }

    /// A letter, then what belongs to it, each followed by a NUL.
    private static func encoded(_ answer: DirectoryAnswer) -> [UInt8] {
        let words = switch answer {
        case .accepted(let user): ["A", user.uid, user.home ?? "", user.shell ?? ""]
        case .refused(let why): ["R", why.rawValue]
        case .unavailable(let reason): ["U", String(reason.prefix(1000))]
        }
        return words.flatMap { Array($0.utf8) + [0] }
    }

    private static func decoded(_ bytes: [UInt8]) -> DirectoryAnswer? {
        let words = bytes.split(separator: 0, omittingEmptySubsequences: false).map { String(decoding: $0, as: UTF8.self) }
        switch (words.first, words.count) {
        case ("A", 5): return .accepted(DirectoryUser(uid: words[1], home: words[2].isEmpty ? nil : words[2], shell: words[3].isEmpty ? nil : words[3]))
        case ("R", 3): return DirectoryRefusal(rawValue: words[1]).map { .refused($0) }
        case ("U", 3): return .unavailable(words[1])
        default: return nil
        }
    }
}
