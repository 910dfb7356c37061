// The process that talks to the directory: a fork, so that it can be locked although what comes after it may be any program, and
// ended although it waits. The libraries it uses (libldap, GnuTLS, the host's name service) see what the network sends and can then
// start nothing, write nothing and read nothing of the mail system; all they can do is answer.
import Directory
import Program
import Unix

enum Asker {
    /// Below the time that auth-check gives: so that this program can still say why.
    private static let seconds = 16

    /// `silent`: servers that cost time and had no answer.
    static func ask(
        _ settings: DirectorySettings, _ user: [UInt8], _ password: borrowing Secret, avoiding avoided: [String]
    ) throws -> (answer: DirectoryAnswer, silent: [String]) {
        let pipe = try Descriptor.pipe()
        guard try Process.fork() != 0 else {
            Process.endAfter(seconds: seconds)
            try lock(settings)
            let outcome = UserDirectory(settings).authenticate(user, password, avoiding: avoided)
            try IO.writeAll(pipe.second.raw, encoded(outcome.answer, outcome.silent))
            Process.exit(Ending.done.rawValue)
        }
        let reading = pipe.takeFirst()
        var answer: [UInt8] = []
        while case let more = try IO.readSome(reading.raw, limit: 4096), !more.isEmpty { answer += more }
        if let answer = decoded(answer) { return answer }
        var end = Process.reap()
        while end == nil { Process.sleep(milliseconds: 1); end = Process.reap() }
        if end!.status == 256 + Int32(Signals.alarm) { return (.unavailable("no server of the directory has answered within \(seconds) seconds"), []) }
        return (.unavailable("the process that asks the directory has ended (status \(end!.status))"), [])
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

    /// A letter, then what belongs to it, then the servers that were silent, each followed by a NUL.
    private static func encoded(_ answer: DirectoryAnswer, _ silent: [String]) -> [UInt8] {
        let words = switch answer {
        case .accepted(let user): ["A", user.uid, user.home ?? "", user.shell ?? ""] + encoded(user.membership)
        case .refused(let why): ["R", why.rawValue]
        case .unavailable(let reason): ["U", String(reason.prefix(1000))]
        }
        return (words + silent).flatMap { Array($0.utf8) + [0] }
    }

    private static func encoded(_ membership: AdminMembership) -> [String] {
        switch membership {
        case .member: ["yes", ""]
        case .none: ["no", ""]
        case .unknown(let reason): ["unknown", String(reason.prefix(1000))]
        }
    }

    private static func decoded(_ bytes: [UInt8]) -> (DirectoryAnswer, [String])? {
        var words = bytes.split(separator: 0, omittingEmptySubsequences: false).map { String(decoding: $0, as: UTF8.self) }
        // Behind the last NUL is nothing, unless the answer was cut short.
        guard words.popLast() == "" else { return nil }
        switch (words.first, words.count) {
        case ("A", 6...):
            let membership: AdminMembership = switch words[4] {
            case "yes": .member
            case "unknown": .unknown(words[5])
            default: .none
            }
            let user = DirectoryUser(uid: words[1], home: words[2].isEmpty ? nil : words[2], shell: words[3].isEmpty ? nil : words[3], membership: membership)
            return (.accepted(user), Array(words[6...]))
        case ("R", 2...): return DirectoryRefusal(rawValue: words[1]).map { (.refused($0), Array(words[2...])) }
        case ("U", 2...): return (.unavailable(words[1]), Array(words[2...]))
        default: return nil
        }
    }
}
