// tcp-accept: listens, and has a program talk on each connection (UCSPI).
//
// Reads nothing from the network. Started as root it binds first, then becomes its own user, able to start the next
// program as one other user and never as root; once a template runs, it gives even that up.
import Program
import Unix

let usage = """
    usage: tcp-accept [-u USER] [-n USER] [-c N] [-i N] [-r N] [-m LINE] [-b N] [-o MODE:GROUP[:OWNER]] [-s] [-t] HOST PORT PROGRAM [ARG...]
    Accepts connections and runs PROGRAM for each, with the connection as its standard input and output and
    the UCSPI variables in its environment. HOST is an IPv4 or IPv6 address, or 0 for all of both; with HOST
    "unix", PORT is the path of a unix socket. Port 0 lets the kernel choose. HOST and PORT may each be several,
    joined by commas: every port is then listened to on every address.

      -u USER    become USER once bound
      -n USER    a user that PROGRAM may become, and no other; several joined by commas; or uids, as in 30000-59999
      -c N       at most N connections at once (default 200)
      -i N       at most N at once from one address (default 20; 0: no limit)
      -r N       at most N new ones a minute from one address (default 120; 0: no limit)
      -m LINE    what those hear who are turned away
      -b N       length of the kernel's queue of connections (default 1024)
      -o MODE:GROUP[:OWNER]  mode, group and owner of the unix socket, such as 0660:semail-smtpd
      -s         share the port: others may listen to it on other addresses
      -t         PROGRAM is a template: started once, it forks for each connection

    SIGTERM stops accepting and waits for what runs; a second one cuts it.

    """

Program.run(usage) { options, environment in
    var options = options
    try options.parse("u:n:c:i:r:m:b:o:st")
    let host = try options.next("HOST")
    let port = try options.next("PORT")
    guard options.remaining.first != nil else { throw UsageError("PROGRAM is missing") }
    let command = options.remaining
    let limits = Limits(
        children: try options.number("c", default: 200), perAddress: try options.number("i", default: 20),
        perMinute: try options.number("r", default: 120), line: options.value("m"))
    let path = try Process.find(command[0], environment)
    // One descriptor per connection, and some for ourselves.
    let descriptors = Process.raiseDescriptorLimit()
    guard limits.children > 0, limits.children < descriptors - 20 else {
        throw UsageError("-c needs a number from 1 to \(descriptors - 21)")
    }

    let backlog = try options.number("b", default: 1024)
    let listeners = host == "unix" ? [try listenLocally(port, options.value("o"), backlog)] : try listen(host, port, backlog, isShared: options.has("s"))

    try become(options.value("u"), startingAs: options.value("n"))
    if User.isRoot { Log.warning("as-root", .text("reason", "without -u everything runs as root")) }
    let signals = try Signals([Signals.childEnded, Signals.terminate, Signals.interrupt])
    let starter: Starter
    if options.has("t") {
        starter = .template(try Template(program: path, arguments: command, environment: environment))
        try Become.dropCapabilities()
        try Lock.lock()
    } else {
        try Sandbox.noNewPrivileges()
        starter = .exec(path: path, arguments: command, environment: environment)
    }
    return try Acceptor(listeners, starter, limits, signals, isUnix: host == "unix").run()
}
