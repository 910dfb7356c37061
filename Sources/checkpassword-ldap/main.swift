// checkpassword-ldap: the checkpassword interface (http://cr.yp.to/checkpwd/interface.html), answered by an LDAP directory.
//
// Reads a user's name and password from descriptor 3, believes neither, and runs a program if the directory takes them. Whoever
// starts it may have it try passwords; it says nothing about users but that. The password is never logged and never an argument.
import Control
import Directory
import Program
import Unix

let usage = """
    usage: checkpassword-ldap [-u USER] PROGRAM [ARG...] 3< CREDENTIALS
    Reads NAME NUL PASSWORD NUL TIMESTAMP NUL from descriptor 3 and asks the directory that the control files
    ldap-* of SEMAIL_HOME (default \(Home.installed)) name. NAME is a uid of the directory, or the address of a
    mailbox, which stands for its owner. If the password is right, runs PROGRAM with USER, HOME and SHELL set, and
    SEMAIL_ADMIN=1 for a member of the group that the setting ldap-admin-group names.
    Exit codes: those of PROGRAM; 1 wrong, 2 wrong call, 111 the directory does not answer.

      -u USER    become USER first

    """

/// The interface's own codes; Program's are 0, 100 and 111.
enum Refusal { static let wrong: Int32 = 1, misuse: Int32 = 2 }

/// Everything up to the program; `remaining` of the options is its command line.
func check(_ options: inout Options, _ environment: Environment) throws -> DirectoryUser {
    try options.parse("u:")
    guard !options.remaining.isEmpty else { throw UsageError("PROGRAM is missing") }
    if let name = options.value("u") { try Become.user(Program.user(name)) }
    try Sandbox.limit(.coreOctets, to: 0)
    let home = Home(environment)
    let settings = try directorySettings(home)
    guard let credentials = try Credentials.read() else { throw UsageError("descriptor 3 has no NAME NUL PASSWORD NUL TIMESTAMP NUL of at most 512 octets") }
    let name = credentials.name
    guard let user = try owner(name, home) else { refuse(name, "mailbox") }
    let silent = SilentServers(directory: home.run + "/guesses")
    let outcome = try Asker.ask(settings, user, credentials.password, avoiding: silent.among(settings.servers))
    silent.remember(outcome.silent)
    switch outcome.answer {
    case .accepted(let found): return found
    case .refused(let why): refuse(name, why.rawValue)
    case .unavailable(let reason): throw Fatal(reason)
    }
}

func refuse(_ name: [UInt8], _ why: String) -> Never {
    Log.info("refused", .bytes("user", name), .text("because", why))
    Process.exit(Refusal.wrong)
}

Program.run(usage) { options, environment in
    var options = options
    let user: DirectoryUser
    do { user = try check(&options, environment) } catch let error as UsageError {
        Log.error("misused", .text("reason", error.text))
        Process.exit(Refusal.misuse)
    }
    var environment = environment
    environment["USER"] = user.uid
    environment["HOME"] = user.home ?? "/"
    environment["SHELL"] = user.shell ?? "/bin/sh"
    environment["SEMAIL_ADMIN"] = user.membership == .member ? "1" : nil
    if case .unknown(let reason) = user.membership { Log.warning("group", .text("reason", reason)) }
    try Sandbox.noNewPrivileges()
    try Process.exec(Process.find(options.remaining[0], environment), options.remaining, environment)
}
