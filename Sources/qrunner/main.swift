// qrunner: decides about every message from its acceptance to its delivery or bounce.
//
// The queue's only owner. It has deliveries made by others, each started once as a template: maildir-deliver, whose forks become the
// mailbox's user; remote-relay, which speaks to other hosts; dkim-sign, which alone reads the keys. Once they run, qrunner itself can
// start and become nobody.
import Control
import Program
import Queue
import Unix

let usage = """
    usage: qrunner [-u USER] [-r USER] [-k USER] [--once]
    Delivers what is in the queue of SEMAIL_HOME (default \(Home.installed)), tries again what could not be
    delivered, and sends bounces. SIGTERM: finish what runs, then end. SIGALRM: try everything now.

      -u USER    become USER first
      -r USER    the user of remote-relay
      -k USER    the user of dkim-sign
      --once     deliver what is due, then end

    """

Program.run(usage) { options, environment in
    var options = options
    let isOnce = options.takeWord("--once")
    try options.parse("u:r:k:")
    try options.end()

    Process.clearFileModeMask()
    let home = Home(environment)
    let limits = try RunnerSettings(home)
    _ = Process.raiseDescriptorLimit()
    let signals = try Signals([Signals.terminate, Signals.interrupt, Signals.alarm, Signals.childEnded])
    let others = Others(relay: options.value("r"), signer: options.value("k"))
    try others.become(options.value("u"), mailboxes: limits.mailboxUids)
    let store = try QueueStore(home.queue)
    guard let lock = try store.lock() else {
        throw Fatal("another qrunner has the lock of \(home.queue): one is enough")
    }
    let trigger = try Trigger(home.trigger)
    let admin = isOnce ? nil : try AdminSocket(home.qrunnerSocket)
    let outgoing = try Outgoing(relays: others.start("remote-relay", others.relay, environment), signer: Signer(others.start("dkim-sign", others.signer, environment)))
    let held = try Holdings(lock: lock, trigger: trigger, admin: admin, deliverer: others.start("maildir-deliver", nil, environment), signals: signals)
    if User.isRoot == false { try Become.dropCapabilities() }
    try Lock.lock(home)

    return try Runner(home, store, held, outgoing, limits, isOnce: isOnce).run()
}
