// auth-check: is this the right password? One question from a connection, one answer on it; the service behind run/auth.
//
// Reads the question of a session, which strangers filled in, and believes nothing of it. Who knows passwords is another program, any
// one of the checkpassword interface; it is started before the question is read, and then this process can start nothing more. What
// it can do is count: how often an address and a user were refused lately, over all sessions. No password is ever logged or stored.
import Program
import Unix

let usage = """
    usage: auth-check [-u USER] [-d DIR] [-l N] [-w SECONDS] [-t SECONDS] CHECKPASSWORD [ARG...]
    Reads CLIENT NUL USER NUL PASSWORD NUL on standard input, has the program CHECKPASSWORD decide, and answers with a
    line: "ok OWNER" (behind a TAB "admin", for an administrator), "no", "slow SECONDS" (too many were wrong lately;
    nobody was asked) or "later REASON". Wrong passwords are counted for each client and each user; after some, answers
    are slow, and after more there are none.

      -u USER     become USER first
      -d DIR      where the counts are (default \(Guesses.installed))
      -l N        wrong passwords before there are no answers (default 20; 0: no limit)
      -w SECONDS  for how long a wrong password counts (default 3600)
      -t SECONDS  the time CHECKPASSWORD has (default 20)
      --ok        alone: what CHECKPASSWORD runs when the password is right; it says who USER is

    """

Program.run(usage) { options, environment in
    var options = options
    if options.remaining == ["--ok"] { return sayWho(environment) }
    try options.parse("u:d:l:w:t:")
    guard !options.remaining.isEmpty else { throw UsageError("CHECKPASSWORD is missing") }
    let limits = Guesses.Limits(wrong: try options.number("l", default: 20), seconds: try options.number("w", default: 3600))
    guard limits.seconds > 0 else { throw UsageError("-w needs a number of seconds") }
    let seconds = try options.number("t", default: 20)

    Process.clearFileModeMask()
    if let name = options.value("u") { try Become.user(Program.user(name)) }
    let guesses = try Guesses(options.value("d") ?? Guesses.directory(environment), limits)
    let checker = try Checker(options.remaining, environment, seconds: seconds)
    try Lock.lock(guesses.path, killing: checker.pid)

    guard let question = try Question.read() else {
        Log.error("malformed", .text("reason", "the question is not CLIENT NUL USER NUL PASSWORD NUL within 1024 octets and 10 seconds"))
        checker.end()
        return .failed
    }
    let answer = try question.answered(by: checker, guesses)
    try IO.writeAll(Descriptor.standardOutput, Array((answer + "\n").utf8))
    return .done
}
