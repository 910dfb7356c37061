// sendmail: a message on standard input becomes a submission, for programs that know no other way to send mail.
//
// Runs as whoever calls it, with no right of its own and none to gain: who the sender may be, the submission service decides, by
// what the kernel tells it of the caller. Reads the message and the arguments and believes them as far as their owner may speak for
// himself.
import Control
import Program
import Unix

let usage = """
    usage: sendmail [-t] [-i] [-f SENDER] [-F NAME] [-v] [OPTION...] [RECIPIENT...] < message
    Hands the message to the submission service of SEMAIL_HOME (default \(Home.installed)). mailq, or sendmail -bp,
    shows the queue.

      -t           recipients are those of the fields To, Cc and Bcc, besides those given
      -i, -oi      a dot alone on a line does not end the message
      -f SENDER    the envelope's sender; -r is the same
      -F NAME      the name in From, if that field is missing
      -N WHEN      when to be told: never, or success, failure and delay joined by commas (RFC 3461)
      -R WHAT      how much of the message to be told with: full or hdrs
      -V ID        an id for what is told
      -B 7BIT      the message is 7-bit text, whatever is in it
      -v           show the dialogue
      -bm          read a message (the default); -ba is the same
      -bs          speak SMTP on standard input and output
      -bp          show the queue
      -bi, -I      nothing: aliases need no rebuilding
      -q           try everything in the queue now

    Of no effect: -A -C -D -d -e -G -h -L -M -m -n -O -o -p -U -X -x.

    """

/// What a call comes to, and how it ends: 0, or a code of sysexits(3), for that is what callers of sendmail know.
func answer(_ call: Call, _ environment: Environment) throws {
    let home = Home(environment)
    let service = environment["SEMAIL_SUBMISSION"] ?? home.run + "/submission"
    switch call.work {
    case .nothing: return
    case .showQueue: try Process.exec(Process.find("semail", environment), ["semail", "queue", "list"], environment)
    case .tryQueue: try Process.exec(Process.find("semail", environment), ["semail", "queue", "flush"], environment)
    case .speak:
        let connection = try connect(service)
        try Lock.lock()
        try PassThrough.run(connection)
    case .send:
        let identity = Identity(home, environment)
        let spool = Spool(environment)
        try Lock.lock()
        let message = try Message.read(dotEnds: call.dotEnds, into: spool)
        try Submission(call, identity).send(message, to: service)
    }
}

Program.run(usage) { options, environment in
    do {
        try answer(Call(options.remaining, name: Log.program), environment)
        return .done
    } catch let trouble as Trouble {
        try? IO.writeAll(Descriptor.standardError, Array("sendmail: \(trouble.text)\n".utf8))
        Process.exit(trouble.code.rawValue)
    } catch let error as SystemError {
        try? IO.writeAll(Descriptor.standardError, Array("sendmail: \(error.text)\n".utf8))
        Process.exit(Trouble.Code.tryAgain.rawValue)
    }
}
