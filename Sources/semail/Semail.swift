// semail: the admin's command.
//
// Runs when an admin says so, as root on an installed host or as the user whose home it is. It never listens; what it reads
// from strangers (the queue, Maildirs) it only counts and shows, with control characters made visible.
import ArgumentParser
import Control
import Directory
import Program
import Provisioning
import Unix

@main
struct Semail: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "semail",
        abstract: "Looks after a SEMail home: mailboxes, queue, people, settings.",
        discussion: """
            --home DIR and --json go with every command. The home is --home, else SEMAIL_HOME, else \(Home.installed). \
            A terminal gets tables, anything else tab-separated lines. The manual is semail(8).
            """,
        version: "semail (SEMail) \(version)",
        subcommands: [InitCommand.self, MailboxCommand.self, QueueCommand.self, UserCommand.self, ConfigCommand.self, DKIMCommand.self, ContainerCommand.self, KeyCommand.self, DoctorCommand.self])

    /// What a command threw becomes a sentence; with --json, on standard output too.
    static func main() {
        // What the services must read, they can, whatever the admin's own files are like.
        Unix.Process.clearFileModeMask()
        Signals.ignoreBrokenPipes()
        let arguments = commonLast(Array(CommandLine.arguments.dropFirst()))
        do {
            var command = try parseAsRoot(arguments)
            do { try command.run() } catch let ending as ExitCode { Out.finish(); exit(withError: ending) } catch {
                guard let sentence = Failure.sentence(error).map(Out.clean) else { exit(withError: error) }
                if let common = (command as? HomeCommand)?.common, common.json { Out.document(.object([("error", .string(sentence))])) }
                Out.finish()
                try? IO.writeAll(Descriptor.standardError, Array("semail: \(sentence)\n".utf8))
                Unix.Process.exit(1)
            }
            Out.finish()
            Unix.Process.exit(0)
        } catch { exit(withError: error) }
    }

    /// `semail --home DIR queue list` is `semail queue list --home DIR`: options that every command has may stand before it.
    private static func commonLast(_ arguments: [String]) -> [String] {
        var rest = arguments[...]
        var common: [String] = []
        while let word = rest.first {
            if word == "--home", rest.count > 1 {
                common += rest.prefix(2)
                rest.removeFirst(2)
            } else if word == "--json" || word.hasPrefix("--home=") {
                common.append(word)
                rest.removeFirst()
            } else { break }
        }
        let end = rest.firstIndex(of: "--") ?? rest.endIndex
        return rest[..<end] + common + rest[end...]
    }
}

/// What every command takes.
struct Common: ParsableArguments {
    @Option(help: ArgumentHelp("The home (default: SEMAIL_HOME, or \(Home.installed)).", valueName: "dir"))
    var home: String?

    @Flag(help: "One JSON document instead of words.")
    var json = false
}

/// A command that works on a home.
protocol HomeCommand: ParsableCommand {
    var common: Common { get }
}

extension Common {
    var homePath: String { Common.absolute(home ?? Environment.inherited()["SEMAIL_HOME"] ?? Home.installed) }

    /// The home, which must be there. Run by root on the home of another user, this process becomes that user: what lies in a
    /// user's directory is theirs to change at any time, and root has no business following it.
    func openHome() throws -> Home {
        let home = Home(path: homePath)
        guard try Entry(home.control) != nil, try Entry(home.queue) != nil else {
            throw Failure(
                "there is no home at \(home.path): make one with semail init \(home.path) --hostname NAME, or name another with --home or SEMAIL_HOME")
        }
        try Common.become(ownerOf: home.path)
        return home
    }

    static func become(ownerOf path: String) throws {
        guard User.isRoot else { return }
        let status = try IO.status(ofDirectory: path)
        if status.uid != 0 { try Become.user(User(name: "\(status.uid)", uid: status.uid, gid: status.gid)) }
    }

    /// Mailboxes name their Maildirs by absolute paths. Empty steps and dots are left out; `..` stays, as links make of it what they will.
    static func absolute(_ path: String) -> String {
        let full = path.hasPrefix("/") ? path : Path.current + "/" + path
        return "/" + full.split(separator: "/").filter { $0 != "." }.joined(separator: "/")
    }
}

/// A command that could not do what it was asked, in words that say what to do.
struct Failure: Error {
    let text: String
    init(_ text: String) { self.text = text }

    /// nil: not one of ours; the argument parser has words for it.
    static func sentence(_ error: any Error) -> String? {
        switch error {
        case let error as Failure: error.text
        case let error as ProvisioningError: error.text
        case let error as ControlError: error.text
        case let error as DirectoryFault: error.text
        case let error as SystemError: error.isNotAllowed ? "\(error.text): run it as root, or as the user whose home it is" : error.text
        default: nil
        }
    }
}
