// What the portal may still do once it listens: read what it shows, write requests, ask over unix sockets, run domain-check. It can
// write no other file and listen nowhere else; what it starts inherits that.
import Control
import Program
import Unix

enum Lock {
    static func lock(_ home: Home, logs: String, checker: String?) throws {
        try Sandbox.limit(.coreOctets, to: 0)
        var sandbox = Sandbox()
        // domain-check asks name servers, by TCP too where an answer is long.
        sandbox.allowConnecting()
        sandbox.allow(home.control, [.readFile])
        sandbox.allow(home.mailboxes, [.readFile, .readDirectory])
        sandbox.allow(home.requests + "/state", [.readFile, .readDirectory])
        sandbox.allow(home.requests + "/new", [.readFile, .writeFile, .makeFile, .removeFile])
        sandbox.allow(home.ssh, [.readFile, .readDirectory])
        // Facts, and the sockets; connecting to one writes to it.
        sandbox.allow(home.run, [.readFile, .writeFile])
        sandbox.allow(logs, [.readFile, .readDirectory])
        // The resolver's settings, wherever systemd or others keep them, and the time zone.
        for path in ["/etc", "/run/systemd/resolve", "/usr/share/zoneinfo"] { sandbox.allow(path, [.readFile]) }
        for path in ["/dev/null", "/dev/urandom"] { sandbox.allow(path, [.readFile, .writeFile]) }
        // How many processors and how much memory there is decides how many threads there are.
        for path in ["/proc", "/sys/fs/cgroup"] { sandbox.allow(path, [.readFile]) }
        if let checker { sandbox.allow(checker, [.readFile, .execute]) }
        var missing: [String] = []
        try sandbox.lockPaths(&missing)
        for sentence in missing { Log.warning("unprotected", .text("reason", sentence)) }
    }
}
