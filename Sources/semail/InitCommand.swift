// semail init: a complete home, anywhere.
import ArgumentParser
import Control
import Provisioning
import Unix

struct InitCommand: HomeCommand {
    static let configuration = CommandConfiguration(
        commandName: "init", abstract: "Makes a home, or completes one; what is there stays as it is.",
        discussion: "The home gets the mailbox postmaster@NAME, which answers for postmaster and abuse of every domain in it.")

    @Argument(help: "The home to make.", completion: .directory)
    var dir: String

    @Option(help: ArgumentHelp("The name of this host in mail.", valueName: "name"))
    var hostname: String

    @Option(help: ArgumentHelp(
        "A table of paths, modes and owners (default for \(Home.installed): \(Layout.installedTable)).", valueName: "file"))
    var hier: String?

    @OptionGroup var common: Common

    func run() throws {
        if common.home != nil { throw ValidationError("init takes the home as its argument: semail init DIR --hostname NAME") }
        let path = Common.absolute(dir)
        if try Entry(path) != nil { try Common.become(ownerOf: path) }
        let new = try NewHome(Home(path: path), hostname: hostname, layout: LayoutChoice.layout(home: path, table: hier))
        if common.json {
            Out.document(.object([
                ("home", .string(path)), ("hostname", .string(new.hostname)), ("postmaster", .text(new.postmaster?.text)),
                ("made", .list(new.made.map { .string($0) })),
            ]))
            return
        }
        if new.made.isEmpty { Out.line("\(path) is a home already, and complete: nothing was changed") } else {
            Out.line("\(path): made \(Words.count(new.made.count, "thing", "things")) that a home needs")
        }
        if new.hostname != hostname.lowercased() {
            Out.line("its hostname is \(new.hostname) already; semail config hostname \(hostname) would change that")
        }
        Out.line("mail for postmaster goes to \(new.postmaster?.text ?? "nobody")")
        Out.line("next: semail --home \(path) mailbox create OWNER ADDRESS")
    }
}

enum LayoutChoice {
    /// A table that was named; the installation's for the installed home; else the layout of a user's own.
    static func layout(home: String, table: String?) throws -> Layout {
        if let table { return try Layout.installation(table: table, home: home) }
        if home == Home.installed, Path.exists(Layout.installedTable) { return try Layout.installation(table: Layout.installedTable, home: home) }
        return Layout.plain(home: home)
    }
}
