// The queue and who works on it.
import Control
import Mail
import Queue
import Unix

enum QueueCheck {
    static func runner(_ home: Home, isInstalled: Bool) throws -> [Finding.Result] {
        // A word it does not know is answered too, and changes nothing.
        do {
            if try QrunnerSocket.ask("status", home) != nil { return [.well("qrunner is running, and answers")] }
        } catch let error as Failure { return [.mend(error.text, "look at its log, and start it again")] }
        let store = try QueueStore(home.queue)
        if try isLocked(store) { return [.well("qrunner is running (--once)")] }
        let start = isInstalled ? "run: sv start semail-qrunner" : "run: SEMAIL_HOME=\(home.path) qrunner"
        // In a home where programs are tried by hand, qrunner runs when somebody wants it to.
        let isNeeded = try isInstalled || hasMessages(store)
        if isNeeded { return [.mend("qrunner is not running: nothing is delivered", start)] }
        return [.note("qrunner is not running, and nothing waits for it", start)]
    }

    /// Looks at an existing lock file and makes none.
    private static func isLocked(_ store: borrowing QueueStore) throws(SystemError) -> Bool {
        do throws(SystemError) {
            let file = try store.root.open("lock", .readWrite)
            return !Process.lock(file)
        } catch {
            if error.isMissing { return false }
            throw error
        }
    }

    private static func hasMessages(_ store: borrowing QueueStore) throws -> Bool {
        if try store.list(.new).next() != nil { return true }
        for minute in try store.minutes() { if try store.list(.later(minute: minute)).next() != nil { return true } }
        return false
    }

    static func findings(_ home: Home) throws -> [Finding.Result] {
        let store = try QueueStore(home.queue)
        let now = Clock.seconds()
        var found: [Finding.Result] = []
        var count = 0, octets = 0, held = 0, malformed = 0
        var oldest: (id: String, age: Int)?
        var stuck: (id: String, age: Int)?
        try store.forEach { waiting in
            count += 1
            octets += waiting.size
            let age = waiting.age(now)
            if waiting.envelope == nil { malformed += 1 }
            if waiting.place == .hold { held += 1; return }
            if age > oldest?.age ?? -1 { oldest = (waiting.id.text, age) }
            // A quarter of an hour is more than any batch takes.
            if waiting.place == .new || (waiting.nextTry ?? now) < now - 900, age > 900, age > stuck?.age ?? 0 { stuck = (waiting.id.text, age) }
        }
        if let stuck {
            found.mend(
                "\(stuck.id) has waited for \(Words.duration(stuck.age)) without being tried",
                "see whether qrunner runs and what its log says; semail queue flush tries everything now")
        }
        if malformed > 0 {
            found.mend(
                "\(Words.count(malformed, "file", "files")) in the queue cannot be read as a message",
                "semail queue list names them; semail queue delete ID removes one")
        }
        if held > 0 {
            found.note(
                "\(Words.count(held, "message is", "messages are")) on hold",
                "semail queue release ID has one delivered, semail queue delete ID removes it")
        }
        let size = count == 0 ? "the queue is empty" : "\(Words.count(count, "message", "messages")), \(Words.size(octets)) in all"
        if let oldest, oldest.age > 4 * 3600 {
            found.note("\(size); the oldest, \(oldest.id), is \(Words.duration(oldest.age)) old", "semail queue show \(oldest.id) says why")
        } else if found.isEmpty { found.append(.well(size)) }
        return found
    }
}
