// tcp-accept: listens, and has a program talk on each connection (UCSPI).
//
// Reads nothing from the network. Started as root it binds first, then becomes its own user, able to start the next
// program as one other user and never as root; once a template runs, it gives even that up.
import Program
import Unix

let usage = """
    usage: tcp-accept [-u USER] [-n USER] [-c N] [-i N] [-r N] [-m LINE] [-b N] [-t] HOST PORT PROGRAM [ARG...]
    Accepts connections and runs PROGRAM for each, with the connection as its standard input and output and
    the UCSPI variables in its environment. HOST is an IPv4 or IPv6 address, or 0 for all of both; with HOST
    "unix", PORT is the path of a unix socket. Port 0 lets the kernel choose.

      -u USER    become USER once bound
      -n USER    the only user that PROGRAM may become
      -c N       at most N connections at once (default 200)
      -i N       at most N at once from one address (default 20; 0: no limit)
      -r N       at most N new ones a minute from one address (default 120; 0: no limit)
      -m LINE    what those hear who are turned away
      -b N       length of the kernel's queue of connections (default 1024)
      -t         PROGRAM is a template: started once, it forks for each connection

    SIGTERM stops accepting and waits for what runs; a second one cuts it.

    """

Program.run(usage) { options, environment in
    var options = options
    try options.parse("u:n:c:i:r:m:b:t")
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

    let listener: Listener
    if host == "unix" {
        listener = try Listener(path: port, backlog: try options.number("b", default: 1024))
    } else {
        guard let number = UInt16(port) else { throw UsageError("\(port) is no port") }
        do { listener = try Listener(host: host, port: number, backlog: try options.number("b", default: 1024)) }
        catch let error as SystemError { throw Fatal(explain(error, host, port), error.code == 22 ? .failed : .tryAgain) }
    }
    Log.info("listening", .text("address", host), .text("port", host == "unix" ? port : "\(listener.port)"), .count("pid", Int(Process.id)))

    if let name = options.value("u") {
        let user = try Program.user(name)
        if let nextName = options.value("n") {
            let next = try Program.user(nextName)
            try Become.user(user, startingAs: next.uid...next.uid, gids: next.gid...next.gid)
        } else {
            try Become.user(user)
        }
    }
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
    return try Acceptor(OpenListener(listener), starter, limits, signals, isUnix: host == "unix").run()
}
