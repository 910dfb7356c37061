// provision: makes and unmakes mailboxes as the portal asks, with all that belongs to them: volumes, containers, records in the DNS.
//
// The only program that stays root. It reads no network: what it reads of strangers are the request files that the portal writes, in a
// strict grammar, and it believes nothing in them that it can look up. The work is done by processes of its own, one per request, so
// that one that hangs or dies is nobody else's trouble; every step is such that it can be done again.
import Control
import Program
import Provisioning
import Unix

let usage = """
    usage: provision [--once] [-j N]
    Does what the files in requests/new of SEMAIL_HOME (default \(Home.installed)) ask for, and answers in requests/state. At its
    start, and once a minute, it sees that volumes are mounted and containers run, goes on with what was interrupted, and
    looks whether domains that are waited for point here by now.

      --once   end when nothing is left to do: 111 if something has to be tried again later
      -j N     requests that are worked on at once (default 4)

    """

Program.run(usage) { options, environment in
    var options = options
    let isOnce = options.takeWord("--once")
    try options.parse("j:")
    try options.end()
    let workers = try options.number("j", default: 4)
    guard 1...64 ~= workers else { throw UsageError("-j needs a number from 1 to 64") }

    // Files have the modes they are made with.
    Process.clearFileModeMask()
    try Sandbox.limit(.coreOctets, to: 0)
    let home = Home(environment)
    let lock = try Directory(home.requests).open(".lock", .append)
    guard Process.lock(lock) else { throw Fatal("another provision is at work in \(home.path)") }
    var foreman = try Foreman(home, workers: workers)
    Log.info("started", .text("home", home.path), .count("pid", Int(Process.id)))
    return try foreman.run(once: isOnce)
}
