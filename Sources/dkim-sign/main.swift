// dkim-sign: a message on standard input, the same message with its DKIM signatures on standard output.
//
// Runs as a user of its own, the only one who may read the keys. It reads messages, which strangers wrote, and keys; it writes
// signatures, and decides nothing else about mail. As a template (started by qrunner) it forks for a row of messages, which come
// over a socket, and answers with the signatures alone.
import Control
import DKIM
import Program
import TLS
import Unix

let usage = """
    usage: dkim-sign [-u USER] < message
    Signs a message (RFC 6376) with the keys in control/dkim of SEMAIL_HOME (default \(Home.installed)) that belong to the
    domain of its From field, and writes it to standard output. A message without such keys passes unchanged.
    Exit codes: 0 written, signed or not; 111 try again later, nothing was written; 100 wrong call.

      -u USER    become USER first

    """

Program.run(usage) { options, environment in
    var options = options
    try options.parse("u:")
    try options.end()

    let control = Home(environment).control, keys = control + "/" + KeyFile.directory
    if let name = options.value("u") { try Become.user(Program.user(name)) }
    guard let socket = TemplateServer.descriptor(environment) else {
        let message = try ByHand(environment)
        TLSLibrary.start()
        try Lock.lock(keys, in: control, isTemplate: false)
        return try message.run(Signer(Keyring(keys)))
    }
    TLSLibrary.start()
    try Lock.lock(keys, in: control, isTemplate: true)
    let signer = Signer(Keyring(keys))
    let request = try TemplateServer.serve(socket, spares: 1, limit: 8192) { signer.prepare() }
    try Lock.lockWorker()
    return try Worker(request, signer).run()
}
