// semail queue: what waits, why, and what an admin may do about it.
import ArgumentParser

struct QueueCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "queue", abstract: "Shows and orders what waits in the queue.",
        subcommands: [List.self, Show.self, Hold.self, Release.self, Retry.self, Delete.self, Flush.self])
}
