// maildir-export: a Maildir as something to take away: counted, as a tar archive, or as one file of the mbox kind.
//
// As a service it is asked for an owner's mailbox by the portal, in one line, and becomes that mailbox's user before it looks at a
// single message. It reads that one Maildir and changes nothing. What is in there its owner made, and whoever sent the mail: names,
// links, FIFOs and devices are expected to be traps.
import Control
import Program
import Unix

let usage = """
    usage: maildir-export [-u USER] [list|tar|mbox OWNER|DIR]
    Writes to standard output how many messages a Maildir has (list), or all of it as a tar archive or an mbox file.
    OWNER has a mailbox in SEMAIL_HOME (default \(Home.installed)); DIR is the path of a Maildir and has a slash in it.
    Without arguments one line of standard input says what is wanted: list, tar or mbox, a space, and an owner.
    Exit codes: 0 all of it was written, 100 there is no such mailbox or it was called wrongly, 111 try again later.

      -u USER    become USER (a name, or UID:GID) first; with an owner, the mailbox's user is become anyway

    """

Program.run(usage) { options, environment in
    var options = options
    try options.parse("u:")
    let home = Home(environment)
    if let user = options.value("u") { try Become.user(Program.user(user)) }

    let request: Request
    if options.remaining.isEmpty {
        try Lock.lockBeforeRequest(home)
        guard let asked = try Request.read(Descriptor.standardInput) else {
            Log.error("malformed", .text("reason", "the request is not list, tar or mbox, a space and an owner, within 512 octets and 10 seconds"))
            return .failed
        }
        request = asked
    } else {
        guard let form = Request.Form(rawValue: try options.next("what to write")) else { throw UsageError("it is list, tar or mbox that can be written") }
        request = Request(form, of: try options.next("the owner or the Maildir"))
        try options.end()
    }

    let mailbox = request.isPath ? nil : try Mailboxes(home.mailboxes).mailbox(ofOwner: request.subject)
    guard request.isPath || mailbox != nil else {
        Log.info("unknown", .text("owner", request.subject))
        return .failed
    }
    if let mailbox { try Become.user(User(name: mailbox.owner, uid: mailbox.uid, gid: mailbox.gid)) }
    let maildir = try Lock.open(mailbox?.maildir ?? request.subject)
    Process.endAfter(seconds: Output.idleSeconds)
    let total = try request.form.write(maildir)
    Log.info("exported", .text("maildir", request.subject), .text("as", request.form.rawValue), .count("messages", total.messages), .count("octets", total.octets), .count("skipped", total.skipped))
    return .done
}
