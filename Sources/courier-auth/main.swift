// courier-auth: who signs in at Courier's programs (SqWebMail, IMAP), and where their mail is. The program behind authdaemond's
// socket, or behind courier-authlib's module authpipe.
//
// Reads what strangers typed, and believes nothing of it. Whether a password is right it asks at run/auth, like everybody; where the
// mail is, the mailbox files say, which deliveries go by too. It can write no file and start no program; no password is logged.
import Control
import Program
import Unix

let usage = """
    usage: courier-auth [-u USER]
    Answers requests of Courier's programs on standard input: AUTH, PRE and ENUMERATE, as courier-authlib's module authpipe
    sends them, or libcourierauth on authdaemond's socket. FAIL means no; when it cannot tell now it ends without a word.

      -u USER    become USER first

    """

/// A peer that begins a request and does not end it, or takes no answer.
let idleMilliseconds = 30_000

Program.run(usage) { options, environment in
    var options = options
    try options.parse("u:")
    try options.end()
    if let name = options.value("u") { try Become.user(Program.user(name)) }
    if User.isRoot { throw Fatal("I am not for root: name a user with -u", .failed) }
    let home = Home(environment)
    let clerk = try Clerk(home)
    try Lock.lock(home)

    var reader = RequestReader()
    while true {
        guard let request = reader.next() else {
            // Between requests authpipe's pipe is silent for as long as nobody signs in.
            guard try IO.wait(Descriptor.standardInput, forWriting: false, milliseconds: reader.isInMiddle ? idleMilliseconds : nil) else { return .tryAgain }
            let more = try IO.readSome(Descriptor.standardInput, limit: 4096)
            if more.isEmpty { return reader.isInMiddle ? .failed : .done }
            reader.take(more)
            continue
        }
        guard let text = clerk.answer(request).encoded else { return request == .malformed ? .failed : .tryAgain }
        try IO.writeAll(Descriptor.standardOutput, text)
    }
}
