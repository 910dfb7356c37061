// semail queue hold, release, retry, delete and flush. One owner decides about a message: while qrunner runs it is asked, by
// its socket; else this command takes the queue's lock and is that owner for a moment, as the queue's own user.
import ArgumentParser
import Control
import Queue
import Unix

extension QueueCommand {
    struct Hold: OrderCommand {
        static let order = QueueOrder.hold
        static let configuration = CommandConfiguration(abstract: "Sets messages aside until they are released.")
        @Argument(help: "Ids of messages.") var id: [String]
        @OptionGroup var common: Common
    }

    struct Release: OrderCommand {
        static let order = QueueOrder.release
        static let configuration = CommandConfiguration(abstract: "Has held messages delivered again.")
        @Argument(help: "Ids of messages.") var id: [String]
        @OptionGroup var common: Common
    }

    struct Retry: OrderCommand {
        static let order = QueueOrder.retry
        static let configuration = CommandConfiguration(abstract: "Tries messages now, not when they are due.")
        @Argument(help: "Ids of messages.") var id: [String]
        @OptionGroup var common: Common
    }

    struct Delete: OrderCommand {
        static let order = QueueOrder.delete
        static let configuration = CommandConfiguration(abstract: "Forgets messages: nobody gets them, and nobody is told.")
        @Argument(help: "Ids of messages.") var id: [String]
        @Flag(help: "Do not ask.") var yes = false
        @OptionGroup var common: Common

        func confirm() throws {
            if yes { return }
            let what = id.count == 1 ? id[0] : "\(id.count) messages"
            guard try Out.confirms("Delete \(what)? Nobody will be told.") else { throw Failure("nothing was deleted") }
        }
    }

    struct Flush: HomeCommand {
        static let configuration = CommandConfiguration(abstract: "Tries everything now, except what is on hold.")
        @OptionGroup var common: Common

        func run() throws {
            let home = try common.openHome()
            var isRunning = true
            if let answer = try QrunnerSocket.ask("flush", home) {
                guard answer == "ok" else { throw Failure("qrunner says: \(Out.clean(answer))") }
            } else {
                isRunning = false
                let owner = try QueueOwner(home)
                try owner.makeAllDue()
            }
            if common.json { Out.document(.object([("order", .string("flush")), ("isRunning", .bool(isRunning))])); return }
            Out.line(isRunning ? "qrunner tries everything now" : "qrunner is not running; it will try everything as soon as it starts")
        }
    }
}

/// A command with one order for each of some messages.
protocol OrderCommand: HomeCommand {
    static var order: QueueOrder { get }
    var id: [String] { get }
    func confirm() throws
}

extension OrderCommand {
    func confirm() throws {}

    func run() throws {
        let home = try common.openHome()
        try confirm()
        var owner: QueueOwner?
        var results: [(id: String, refusal: String?)] = []
        for text in id {
            guard let id = QueueID(text) else {
                results.append((text, "\"\(text)\" is no message's id: semail queue list shows them"))
                continue
            }
            if owner == nil, let answer = try QrunnerSocket.ask("\(Self.order.rawValue) \(id.text)", home) {
                results.append((id.text, answer == "ok" ? nil : answer))
                continue
            }
            if owner == nil { owner = try QueueOwner(home) }
            results.append((id.text, try owner?.obey(Self.order, id)))
        }
        if common.json {
            Out.document(.object([
                ("order", .string(Self.order.rawValue)), ("isRunning", .bool(owner == nil)),
                ("messages", .list(results.map { result in
                    .object([("id", .string(result.id)), ("isDone", .bool(result.refusal == nil)), ("text", .text(result.refusal))])
                })),
            ]))
        } else {
            for result in results where result.refusal == nil { Out.line("\(result.id): \(done(isRunning: owner == nil))") }
        }
        Out.finish()
        let refusals = results.compactMap(\.refusal)
        for refusal in refusals { try? IO.writeAll(Descriptor.standardError, Array("semail: \(Out.clean(refusal))\n".utf8)) }
        if !refusals.isEmpty { throw ExitCode(1) }
    }

    private func done(isRunning: Bool) -> String {
        switch Self.order {
        case .hold: "held"
        case .delete: "deleted"
        case .release: isRunning ? "released, and being tried" : "released; qrunner is not running, and will try it when it starts"
        case .retry: isRunning ? "being tried" : "due; qrunner is not running, and will try it when it starts"
        }
    }
}

extension QrunnerSocket {
    /// qrunner's answer to one line; nil: it is not running.
    static func ask(_ line: String, _ home: Home) throws -> String? {
        switch try ask(line, path: home.qrunnerSocket) {
        case .said(let answer): return answer
        case .notRunning: return nil
        case .silent(let seconds): throw Failure("qrunner has not answered for \(seconds) seconds: its log says why")
        case .unheard: throw Failure("qrunner does not answer this user: run it as root, or as the user qrunner runs as")
        }
    }
}

/// The queue while qrunner does not run.
struct QueueOwner: ~Copyable {
    private let store: QueueStore
    private let lock: Descriptor

    init(_ home: Home) throws {
        let queue = try IO.status(ofDirectory: home.queue)
        if User.isRoot, queue.uid != 0 {
            // What we make must be qrunner's to change. The sessions' group, by which it reads what they made, is that of queue/new.
            let new = try Directory(home.queue).status("new")
            try Become.user(User(name: "\(queue.uid)", uid: queue.uid, gid: queue.gid, supplementary: [new.gid]))
        }
        let store = try QueueStore(home.queue)
        guard let lock = try store.lock() else { throw Failure("qrunner is at work and has no socket (qrunner --once): try again when it has ended") }
        self.store = store
        self.lock = lock
    }

    /// nil: done.
    func obey(_ order: QueueOrder, _ id: QueueID) throws -> String? {
        switch try order.apply(to: id, in: store) {
        case .missing: return "there is no message \(id.text) in the queue"
        case .unchanged(let sentence): return sentence
        case .done:
            if order == .retry, let place = try store.find(id), case .later(let minute) = place, minute > now {
                try store.move(id, from: place, to: .later(minute: now))
                store.removeMinute(minute)
            }
            return nil
        }
    }

    /// The directory of each minute still to come gets the name of one that has passed: one rename, however many wait in it.
    func makeAllDue() throws {
        var used = Set(try store.minutes())
        var past = now
        for minute in used.filter({ $0 > now }).sorted() {
            while used.contains(past) { past -= 1 }
            used.insert(past)
            try store.root.rename("later/\(minute)", to: store.root, as: "later/\(past)")
        }
    }

    private var now: Int { Clock.seconds() / 60 }
}
