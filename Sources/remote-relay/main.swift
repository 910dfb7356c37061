// remote-relay: a message on standard input goes to the mail server of another host, by SMTP; one report line per recipient.
//
// Runs as a user of its own. It believes nothing that name servers and mail servers say beyond what their protocols let it mean. Before
// it asks any of them it has read what it needs and locked itself in: taken over, it could send mail, and open no file.
// As a template (started by qrunner) it forks for each connection, and the fork sends one message after the other.
import Control
import Mail
import Program
import Unix

let usage = """
    usage: remote-relay [-u USER] [-p PORT] [-t LEVEL] [-m] [-a] HOST-OR-DOMAIN SENDER RCPT... < message
    Sends the message to the mail exchangers of a domain, or to the host [ADDRESS]. SENDER may be ''. Says one line
    for each recipient: K (taken), Z (try again) or D (failed), status, recipient, host, reply; z and d if it is the
    destination's trouble and not the message's. Exit codes: 0 all taken, 111 some to try again, 100 some failed.

      -u USER    become USER (a name, or UID:GID) first
      -p PORT    connect to PORT (25; 465 with -t implicit)
      -t LEVEL   TLS: opportunistic (the default), encrypt, verify, implicit or none
      -m         HOST is the mail server itself: look for no MX records
      -a         authenticate, with the line for HOST in control/route-passwords

    """

func relayByHand(_ options: inout Options, _ environment: Environment) throws -> Ending {
    try options.parse("u:p:t:ma")
    guard let level = Level(rawValue: options.value("t") ?? "opportunistic") else { throw UsageError("there is no level \(options.value("t")!)") }
    guard let port = UInt16(exactly: try options.number("p", default: level == .implicit ? 465 : 25)), port > 0 else { throw UsageError("there is no such port") }
    let name = Array(try options.next("the host or domain").utf8)
    let from = try options.next("the sender")
    let sender = Address(from)
    if sender == nil, !from.isEmpty { throw UsageError("\(from) is no address") }
    let recipients = try options.remaining.map { text -> Address in
        guard let address = Address(text) else { throw UsageError("\(text) is no address") }
        return address
    }
    if recipients.isEmpty { throw UsageError("the recipient is missing") }
    if let user = options.value("u") { try Become.user(Program.user(user)) }

    let station = try Station(Home(environment), environment, verifies: level.isVerified)
    try Lock.lockByHand()
    var envelope = Envelope(received: Clock.microseconds(), sender: sender, recipients: recipients)
    // Nobody has said what is in it: 8-bit octets may be, and saying so is never wrong.
    envelope.is8Bit = true
    let message = try Message(id: [], envelope: envelope, prefix: [], file: Descriptor.standardInput) { true }
    let relay = Relay(Destination(name: name, port: port, level: level, isHost: options.has("m"), wantsAuthentication: options.has("a")), station)
    let outcomes = relay.send(message)
    try IO.writeAll(Descriptor.standardOutput, Report.lines(envelope, outcomes) + [0x0a])
    relay.quit()
    return Report.ending(outcomes)
}

Program.run(usage) { options, environment in
    var options = options
    guard let socket = TemplateServer.descriptor(environment) else { return try relayByHand(&options, environment) }
    try options.parse("u:")
    try options.end()
    if let user = options.value("u") { try Become.user(Program.user(user)) }
    let home = Home(environment)
    let station = try Station(home, environment, verifies: true)
    try Lock.lockTemplate(home, authorities: environment["SSL_CERT_FILE"])
    WarmUp.run()
    // Never given up: to free a few hundred certificates at its end would cost a connection more than all it does.
    _ = Unmanaged.passRetained(station)
    let request = try TemplateServer.serve(socket, spares: 2, limit: 8192) { station.refresh() }
    station.refresh()
    try Lock.lockConnection()
    return try Service(request, station).run()
}
