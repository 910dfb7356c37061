// A home's layout as a table: what must be there, whose it is, and its mode. An installation's table is etc/hier; the one
// for a home of one user stands here. `semail init` makes what is missing, `semail doctor` tells what differs.
import Unix

public struct Layout: Sendable {
    /// One line: `TYPE MODE OWNER GROUP PATH`, and ` -> TARGET` for a link. `-` for an owner or group: whoever owns the home.
    public struct Line: Sendable {
        public enum Kind: Sendable {
            case directory, pipe
            case link(target: String)
            /// Need not exist; if it does, it has this mode.
            case file
        }

        public let kind: Kind
        public let mode: UInt32
        public let owner: String
        public let group: String
        public let path: String
    }

    public let lines: [Line]
    /// An installation's table: modes and owners are as it says, no other. A user's own home need only be theirs and closed.
    public let isInstallation: Bool
    let home: String

    /// The home of one user, for whom every program runs.
    public static func plain(home: String) -> Layout {
        // The text is ours: it parses.
        let lines = (try? parse(plainTable, home: home)) ?? []
        return Layout(lines: lines, isInstallation: false, home: home)
    }

    /// A table such as etc/hier.
    public static func installation(table path: String, home: String) throws -> Layout {
        let bytes: [UInt8]
        do throws(SystemError) { bytes = try Path.contents(path) } catch {
            throw ProvisioningError("the table of the installation cannot be read (\(error.text)): name another with --hier")
        }
        do throws(ProvisioningError) {
            return Layout(lines: try parse(String(decoding: bytes, as: UTF8.self), home: home), isInstallation: true, home: home)
        } catch { throw ProvisioningError("\(path): \(error.text)") }
    }

    /// Where install.sh puts the table.
    public static let installedTable = "/usr/local/share/semail/hier"

    private static let plainTable = """
        d 0755 - - HOME
        d 0755 - - HOME/control
        d 0700 - - HOME/control/tls
        d 0700 - - HOME/control/dkim
        d 0755 - - HOME/mailboxes
        d 0711 - - HOME/queue
        d 0700 - - HOME/queue/new
        d 0700 - - HOME/queue/later
        d 0700 - - HOME/queue/hold
        d 0700 - - HOME/queue/reason
        d 0711 - - HOME/run
        p 0600 - - HOME/run/trigger
        d 0700 - - HOME/run/budgets
        d 0700 - - HOME/run/guesses
        d 0700 - - HOME/run/tls
        d 0711 - - HOME/mnt
        d 0755 - - HOME/requests
        d 0700 - - HOME/requests/new
        d 0700 - - HOME/requests/taken
        d 0755 - - HOME/requests/state
        d 0755 - - HOME/run/provision
        d 0755 - - HOME/run/containers
        d 0755 - - HOME/run/dkim
        d 0755 - - HOME/ssh
        d 0700 - - HOME/volumes
        """

    static func parse(_ text: String, home: String) throws(ProvisioningError) -> [Line] {
        var lines: [Line] = []
        for (index, written) in text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
            let words = written.prefix { $0 != "#" }.split(whereSeparator: { $0 == " " || $0 == "\t" }).map(String.init)
            guard let type = words.first else { continue }
            let isLink = type == "l"
            guard words.count == (isLink ? 7 : 5), let mode = UInt32(words[1], radix: 8), mode <= 0o7777, !isLink || words[5] == "->" else {
                throw ProvisioningError("line \(index + 1) is not TYPE MODE OWNER GROUP PATH")
            }
            let kind: Line.Kind
            switch type {
            case "d": kind = .directory
            case "p": kind = .pipe
            case "f": kind = .file
            case "l": kind = .link(target: place(words[6], home))
            default: throw ProvisioningError("line \(index + 1): there is no type \(type)")
            }
            lines.append(Line(kind: kind, mode: mode, owner: words[2], group: words[3], path: place(words[4], home)))
        }
        return lines
    }

    private static func place(_ path: String, _ home: String) -> String {
        path == "HOME" || path.hasPrefix("HOME/") ? home + path.dropFirst(4) : path
    }

    static func uid(_ name: String) throws(ProvisioningError) -> UInt32? {
        if name == "-" { return nil }
        guard let user = User(name) else { throw ProvisioningError("there is no user \(name): install.sh makes it") }
        return user.uid
    }

    static func gid(_ name: String) throws(ProvisioningError) -> UInt32? {
        if name == "-" { return nil }
        guard let gid = UInt32(name) ?? User.group(name) else { throw ProvisioningError("there is no group \(name): install.sh makes it") }
        return gid
    }
}

extension Layout {
    /// Makes what is missing and leaves alone what is there. Returns the paths it made.
    public func make() throws -> [String] {
        var made: [String] = []
        for line in lines {
            if try Entry(line.path) != nil { continue }
            let uid = try Layout.uid(line.owner), gid = try Layout.gid(line.group)
            switch line.kind {
            case .file: continue
            case .link(let target): try Entry.makeLink(line.path, to: target)
            // Closed until it has its owner.
            case .directory: try Path.makeDirectory(line.path, mode: 0o700)
            case .pipe: try Path.makePipe(line.path, mode: 0o600)
            }
            if User.isRoot, let uid, let gid { try Path.setOwner(line.path, uid: uid, gid: gid) }
            if case .link = line.kind {} else { try Path.setMode(line.path, line.mode) }
            made.append(line.path)
        }
        return made
    }

    /// What is not as the table says.
    public struct Difference: Sendable {
        public let path: String
        public let text: String
        public let remedy: String
    }

    public func differences() throws -> [Difference] {
        let homeOwner = try Entry(home)
        var found: [Difference] = []
        for line in lines { if let difference = try difference(line, homeOwner) { found.append(difference) } }
        return found
    }

    private func difference(_ line: Line, _ homeOwner: Entry?) throws -> Difference? {
        func differs(_ text: String, _ remedy: String) -> Difference { Difference(path: line.path, text: "\(line.path) \(text)", remedy: remedy) }
        guard let entry = try Entry(line.path) else {
            if case .file = line.kind { return nil }
            return differs(
                "is missing", isInstallation ? "run install.sh again: it makes what is missing" : "run: semail init \(home) --hostname NAME")
        }
        let isAsSaid = switch (line.kind, entry.kind) {
        case (.directory, .directory), (.pipe, .pipe), (.file, .file): true
        case (.link(let target), .link(let actual)): target == actual
        // A user may keep any directory elsewhere.
        case (.directory, .link): !isInstallation
        default: false
        }
        guard isAsSaid else {
            return differs("should be \(line.kind.text) and is \(entry.kind.text)", "move it away, and run install.sh or semail init again")
        }
        if case .link = entry.kind { return nil }
        let uid = try Layout.uid(line.owner) ?? homeOwner?.uid ?? entry.uid
        let gid = try Layout.gid(line.group) ?? entry.gid
        if entry.uid != uid || entry.gid != gid {
            let owner = line.owner == "-" ? "\(uid)" : line.owner, group = line.group == "-" ? "" : ":\(line.group)"
            return differs("belongs to \(entry.uid):\(entry.gid) and should to \(owner)\(group)", "run: chown \(owner)\(group) \(line.path)")
        }
        let mode = String(line.mode, radix: 8)
        if isInstallation ? entry.mode != line.mode : entry.mode & 0o022 != 0 {
            return differs("has the mode \(String(entry.mode, radix: 8)) and should have \(mode)", "run: chmod \(mode) \(line.path)")
        }
        return nil
    }
}

extension Layout.Line.Kind {
    var text: String {
        switch self {
        case .directory: "a directory"
        case .pipe: "a FIFO"
        case .link(let target): "a link to \(target)"
        case .file: "a file"
        }
    }
}
