// smtpd-session: one SMTP dialogue on standard input and output; each message it takes becomes one file in the queue.
//
// The most exposed program: it believes nothing it reads. Before the first octet of a client it has opened the queue's
// entrance and locked itself in; taken over, it could add messages, as any client may, and nothing more.
// As a template (started by tcp-accept -t) it opens and locks once, and forks for each connection.
import Control
import Program
import Queue
import Unix

let usage = """
    usage: smtpd-session [-u USER] inbound|submission
    Speaks SMTP (RFC 5321) on standard input and output and puts messages into the queue of SEMAIL_HOME
    (default \(Home.installed)). inbound takes mail for the mailboxes of this host from anybody; submission takes
    mail for anywhere from the owners of these mailboxes, each as their own address. Under a UCSPI server it
    takes the client's address from TCPREMOTEIP; without PROTO in the environment it is used by hand, and LF
    ends a line.

      -u USER    become USER first

    """

Program.run(usage) { options, environment in
    var options = options
    try options.parse("u:")
    let word = try options.next("the role, inbound or submission,")
    guard let role = Role(rawValue: word) else { throw UsageError("there is no role \(word)") }
    try options.end()

    Process.clearFileModeMask()
    let home = Home(environment)
    let template = TemplateServer.descriptor(environment)
    if let name = options.value("u") { try Become.user(Program.user(name)) }
    let station = try Station(home, role)
    try Lock.lock(home, role, isTemplate: template != nil)

    guard let template else { return try Driver(station, environment, connection: nil).run() }
    WarmUp.run(station)
    let request = try TemplateServer.serve(template, spares: 4, limit: 8192) { station.refresh() }
    station.refresh()
    guard let connection = request.descriptors.first else { throw Fatal("a connection without a descriptor") }
    try Lock.lockSession()
    return try Driver(station, Environment(request.environment), connection: connection).run()
}
