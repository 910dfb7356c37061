// maildir-deliver: a message on standard input becomes a file in a Maildir.
//
// Runs as the mailbox's own user. Reads the message and nothing else, writes into that one Maildir and nowhere else.
// As a template (started by qrunner) it forks for each batch of messages to one mailbox, and the fork becomes its user.
import Maildir
import Program
import Unix

let usage = """
    usage: maildir-deliver [-u USER] DIR < message
    Delivers a message into the Maildir DIR. The variables SENDER and RECIPIENT, if set, become the lines
    Return-Path and Delivered-To. Exit codes: 0 delivered, 111 try again later, 100 wrong call.

      -u USER    become USER (a name, or UID:GID) first

    """

func deliverByHand(_ options: inout Options, _ environment: Environment) throws -> Ending {
    try options.parse("u:")
    let path = try options.next("the Maildir's path")
    try options.end()
    if let name = options.value("u") { try Become.user(Program.user(name)) }
    var maildir = try open(path, hostname: environment["HOSTNAME"] ?? "localhost")
    let message = Delivery.Message(
        source: Descriptor.standardInput, sender: environment["SENDER"].map { Array($0.utf8) }, recipient: environment["RECIPIENT"].map { Array($0.utf8) })
    let outcome = Delivery.run([message], to: &maildir)[0]
    maildir.removeLeftovers()
    if case .tryAgain(_, let text) = outcome { throw Fatal(text) }
    return .done
}

/// Arguments: user, Maildir, hostname, then name, "again" or nothing, sender and recipient of each message; descriptors: the
/// report pipe, then the messages.
func deliverBatch(_ request: TemplateRequest) throws -> Ending {
    let words = request.arguments
    guard words.count >= 7, words.count % 4 == 3, request.descriptors.count == 1 + (words.count - 3) / 4 else { throw Fatal("malformed request") }
    // Whatever hangs (a dead disk, a frozen mount) ends some time, and the messages are tried again.
    Process.endAfter(seconds: 1800)
    let text = { (index: Int) in String(decoding: words[index], as: UTF8.self) }
    let report = request.descriptors[0]
    let messages = request.descriptors.dropFirst().enumerated().map { index, file in
        Delivery.Message(
            source: file, sender: words[5 + 4 * index], recipient: words[6 + 4 * index], name: text(3 + 4 * index),
            mayBeThere: !words[4 + 4 * index].isEmpty)
    }
    var outcomes: [Delivery.Outcome]
    do {
        try Become.user(Program.user(text(0)))
        var maildir = try open(text(1), hostname: text(2))
        outcomes = Delivery.run(messages, to: &maildir)
        try IO.writeAll(report, Array(outcomes.map(\.line).joined().utf8))
        maildir.removeLeftovers()
    } catch let error as SystemError {
        outcomes = messages.map { _ in Delivery.outcome(error) }
        try IO.writeAll(report, Array(outcomes.map(\.line).joined().utf8))
    }
    return .done
}

func open(_ path: String, hostname: String) throws -> Maildir {
    var sandbox = Sandbox()
    sandbox.allow(.openat, .newfstatat, .renameat2, .linkat, .unlinkat, .fsync, .sendfile, .getdents64, .fcntl)
    sandbox.allow(path, [.readDirectory, .readFile, .writeFile, .makeFile, .removeFile, .refer])
    let maildir = try Maildir(path, hostname: hostname)
    for sentence in try sandbox.lock() { Log.warning("unprotected", .text("reason", sentence)) }
    return maildir
}

Program.run(usage) { options, environment in
    if let socket = TemplateServer.descriptor(environment) { return try deliverBatch(TemplateServer.serve(socket)) }
    var options = options
    return try deliverByHand(&options, environment)
}
