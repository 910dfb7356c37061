// tls-wrap: takes the TLS off a connection and has a program talk on what is left.
//
// It alone can read the keys. It believes nothing of what comes over the network, and sees no difference between one mail and another: octets go
// in and out. The program on the other side has a user of its own and never sees a key. What speaks TLS here has the key in its memory: taken over,
// it could pass for this host, and say of itself to the program what it likes, but open no file and start nothing.
// As a template (started by tcp-accept -t) it opens and locks once, and forks for each connection.
import Program
import TLS
import Unix

let usage = """
    usage: tls-wrap [-u USER] [-n USER] [-k KEYDIR] PROGRAM [ARG...]
    Speaks TLS (1.2 and 1.3) as a server on standard input and output, and runs PROGRAM on what is inside, with the
    variables SSL_PROTOCOL and SSL_CIPHER besides those of the UCSPI server. KEYDIR (default control/tls in
    SEMAIL_HOME) has default.pem, a certificate and its key, and NAME.pem for each further name.

      -u USER    become USER (a name, or UID:GID) before the first key is read
      -n USER    a user that PROGRAM may become, and no other; several joined by commas
      -k KEYDIR  the directory of the certificates

    """

Program.run(usage) { options, environment in
    var options = options
    try options.parse("u:n:k:")
    let command = options.remaining
    guard let program = command.first else { throw UsageError("PROGRAM is missing") }
    let path = try Process.find(program, environment)
    let home = environment["SEMAIL_HOME"] ?? "/var/lib/semail"
    let keys = options.value("k") ?? home + "/control/tls"
    let tickets = home + "/run/tls"
    let template = TemplateServer.descriptor(environment)

    try Identity.become(options)
    let sessions = try Sessions(path, command, environment, isTemplate: template != nil)
    try Become.dropCapabilities()
    TLSLibrary.start()
    let station = try Station(keys: keys, tickets: tickets)
    guard let template else {
        try Lock.lockByHand()
        Conversation(station.settings, sessions, environment).run(input: Descriptor.standardInput, output: Descriptor.standardOutput)
    }
    try Lock.lockTemplate(keys: keys, tickets: tickets)
    WarmUp.run(station)
    let request = try TemplateServer.serve(template, spares: 4, limit: 8192, beside: sessions.template) { station.refresh() }
    station.refresh()
    guard let connection = request.descriptors.first else { throw Fatal("a connection without a descriptor") }
    try Lock.lockConnection()
    Conversation(station.settings, sessions, Environment(request.environment)).run(input: connection, output: connection)
}
