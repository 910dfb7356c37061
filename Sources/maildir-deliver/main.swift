// maildir-deliver: a message on standard input becomes a file in a Maildir.
//
// Runs as the mailbox's own user. Reads the message and nothing else, writes into that one Maildir and nowhere else.
// As a template (started by qrunner) it forks for each mailbox that has mail, and the fork becomes that mailbox's user.
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
    var maildir = try Lock.open(path, hostname: environment["HOSTNAME"] ?? "localhost")
    let message = Delivery.Message(
        source: Descriptor.standardInput, sender: environment["SENDER"].map { Array($0.utf8) }, recipient: environment["RECIPIENT"].map { Array($0.utf8) })
    let outcome = Delivery.run([message], to: &maildir)[0]
    maildir.removeLeftovers()
    if case .tryAgain(_, let text) = outcome { throw Fatal(text) }
    return .done
}

Program.run(usage) { options, environment in
    if let socket = TemplateServer.descriptor(environment) {
        Worker.warmUp()
        try Lock.lockTemplate(mailboxes: (environment["SEMAIL_HOME"] ?? "/var/lib/semail") + "/mnt")
        return try Worker(TemplateServer.serve(socket, spares: 1, limit: 8192)).run()
    }
    var options = options
    return try deliverByHand(&options, environment)
}
