// portal: the web page on which a person of the directory makes a mailbox, looks after it, and unmakes it.
//
// Talks HTTP to strangers, in the clear: a web server with a certificate stands in front of it, or it is on loopback. It has no privilege:
// it reads the files of mailboxes, logs and answers, which everybody on this host or its group may read, and writes requests, of which
// provision decides. It asks run/auth about passwords and keeps none. Sessions are in memory: when it ends, people sign in again, and
// nothing else is lost.
import Control
import Program
import Unix

let usage = """
    usage: portal [-u USER] [-x]
    The pages of SEMAIL_HOME (default \(Home.installed)), at the address of the setting portal-listen: sign in, make a
    mailbox, look after it, unmake it. SIGTERM: answer what was asked, then end.

      -u USER    become USER first
      -x         a web server on this host stands in front: what it says of its clients (X-Forwarded-For) is true

    """

Program.run(usage) { options, environment in
    var options = options
    try options.parse("u:x")
    try options.end()

    Process.clearFileModeMask()
    let home = Home(environment)
    let address = try ListenAddress(Control(home.control).text(.portalListen))
    // Bound first: afterwards this process can bind nothing.
    let listener = try Listener(host: address.host, port: address.port, backlog: 256)
    if let name = options.value("u") { try Become.user(Program.user(name)) }
    _ = Process.raiseDescriptorLimit()
    // Before there are threads, so that all of them leave these signals alone.
    let signals = try Signals([Signals.terminate, Signals.interrupt])
    let logs = environment["SEMAIL_LOG"] ?? DeliveryLogs.installed
    let checker = try? Process.find("domain-check", environment)
    try Lock.lock(home, logs: logs, checker: checker)

    let portal = try Portal(home, logs: logs, checker: checker, believesProxy: options.has("x"))
    Log.info("listening", .text("address", address.host), .count("port", Int(listener.port)), .count("pid", Int(Process.id)))
    try Server.run(listener, portal, until: signals)
}
