// semail: the admin's command.
import ArgumentParser
import Program

@main
struct Semail: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "semail", abstract: "Looks after a SEMail home: mailboxes, queue, configuration.", version: "semail (SEMail) \(version)")
}
