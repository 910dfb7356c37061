// qrunner: decides about every message from its acceptance to its delivery or bounce.
//
// The queue's only owner. It has deliveries made by others: maildir-deliver, started once as a template, forks for each
// batch and becomes the mailbox's user. Once that template runs, qrunner itself can start and become nobody.
import Control
import Program
import Queue
import Unix

let usage = """
    usage: qrunner [-u USER] [--once]
    Delivers what is in the queue of SEMAIL_HOME (default \(Home.installed)), tries again what could not be
    delivered, and sends bounces. SIGTERM: finish what runs, then end. SIGALRM: try everything now.

      -u USER    become USER first
      --once     deliver what is due, then end

    """

Program.run(usage) { options, environment in
    var options = options
    let isOnce = options.takeWord("--once")
    try options.parse("u:")
    try options.end()

    Process.clearFileModeMask()
    let home = Home(environment)
    let limits = try RunnerSettings(home)
    let deliverPath = try Process.find("maildir-deliver", environment)
    _ = Process.raiseDescriptorLimit()
    let signals = try Signals([Signals.terminate, Signals.interrupt, Signals.alarm, Signals.childEnded])
    if let name = options.value("u") {
        try Become.user(Program.user(name), startingAs: limits.mailboxUids, gids: limits.mailboxUids)
    }
    let store = try QueueStore(home.queue)
    guard let lock = try store.lock() else {
        throw Fatal("another qrunner has the lock of \(home.queue): one is enough")
    }
    let trigger = try Trigger(home.trigger)
    let admin = isOnce ? nil : try AdminSocket(home.qrunnerSocket)
    let deliverer = try Template(program: deliverPath, arguments: ["maildir-deliver"], environment: environment)
    if User.isRoot == false { try Become.dropCapabilities() }
    try Lock.lock(home)

    let runner = try Runner(home, store, lock, trigger, admin, deliverer, signals, limits, isOnce: isOnce)
    return try runner.run()
}
