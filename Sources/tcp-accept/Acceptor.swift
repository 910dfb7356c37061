// The loop: connections in, children started and counted, children's ends seen.
import Program
import Unix

/// How the next program gets its connection.
enum Starter {
    /// A new process image for each.
    case exec(path: String, arguments: [String], environment: Environment)
    /// A fork of one that runs already.
    case template(Template)
}

final class Acceptor {
    private struct Child {
        let address: String
        /// Our copy of the connection: by it a child of another user can be cut off.
        let connection: Int32
    }

    /// Closed at the first SIGTERM, so that new clients go to our successor and not into a queue nobody empties.
    private var listeners: [OpenListener]
    private let starter: Starter
    private let limits: Limits
    private let isUnix: Bool
    private let signals: Signals
    private var admission: Admission
    /// By pid, or by the tag of a template's request.
    private var children: [UInt64: Child] = [:]
    private var nextTag: UInt64 = 1
    private var terminations = 0

    init(_ listeners: [OpenListener], _ starter: Starter, _ limits: Limits, _ signals: consuming Signals, isUnix: Bool) {
        self.listeners = listeners
        self.starter = starter
        self.limits = limits
        self.isUnix = isUnix
        self.signals = signals
        admission = Admission(limits)
    }

    func run() throws -> Ending {
        while true {
            if terminations > 0 && children.isEmpty { return .done }
            var waiting = [signals.descriptor.raw]
            if case .template(let template) = starter { waiting.append(template.descriptor) }
            let listeners = listeners
            waiting += listeners.map(\.descriptor)
            guard let ready = try IO.waitReadable(waiting, milliseconds: nil) else { continue }
            if ready[0] { takeSignals() }
            if case .template(let template) = starter, ready[1] { try takeReports(template) }
            // Several at once: under load a wake-up serves more than one.
            for (listener, isReady) in zip(listeners, ready.suffix(listeners.count)) where isReady {
                for _ in 0..<16 { if try terminations > 0 || !acceptOne(listener.listener) { break } }
            }
        }
    }

    private func takeSignals() {
        while let signal = signals.next() {
            switch signal {
            case Signals.childEnded:
                while let (pid, status) = Process.reap() { ended(UInt64(pid), status) }
            default:
                terminations += 1
                listeners = []
                Log.info("ending", .count("running", children.count))
                if terminations > 1 { children.values.forEach { Socket.shutDown($0.connection) } }
            }
        }
    }

    private func takeReports(_ template: Template) throws {
        while let report = template.next() {
            if report.status == Template.couldNotFork {
                if let child = children[report.tag] { turnAway(child.connection) }
                Log.error("no-process", .text("reason", "no process could be forked"))
            }
            ended(report.tag, report.status)
        }
        // Without its template this program can start nothing; its supervisor starts both again.
        if template.isGone, terminations == 0 { throw Fatal("the template has ended") }
        if template.isGone { children.values.forEach { Socket.close($0.connection) }; children.removeAll() }
    }

    private func ended(_ key: UInt64, _ status: Int32) {
        guard let child = children.removeValue(forKey: key) else { return }
        Socket.close(child.connection)
        admission.leave(child.address)
        if status > 255 && status != Template.couldNotFork {
            Log.warning("killed", .text("client", child.address), .count("signal", Int(status) - 256))
        }
    }

    /// False when nobody waits any more.
    private func acceptOne(_ listener: borrowing Listener) throws -> Bool {
        let connection: Int32
        let address: String
        var variables: [String]
        do throws(SystemError) {
            if isUnix {
                guard let peer = try listener.acceptLocal() else { return false }
                connection = peer.connection
                address = "uid \(peer.uid)"
                variables = ["PROTO=UNIX", "UNIXREMOTEPID=\(peer.pid)", "UNIXREMOTEEUID=\(peer.uid)", "UNIXREMOTEEGID=\(peer.gid)"]
            } else {
                guard let peer = try listener.accept() else { return false }
                connection = peer.connection
                address = peer.remote.address
                variables = [
                    "PROTO=TCP", "TCPREMOTEIP=\(address)", "TCPREMOTEPORT=\(peer.remote.port)",
                    "TCPLOCALIP=\(peer.local.address)", "TCPLOCALPORT=\(peer.local.port)",
                ]
            }
        } catch {
            guard error.isShortage else { throw error }
            // Descriptors or memory have run out: the connection waits in the kernel, and we must not spin.
            Log.error("shortage", .text("reason", error.text))
            Process.sleep(milliseconds: 100)
            return false
        }
        if let refusal = admission.enter(address, running: children.count) {
            Log.info("turned-away", .text("client", address), .text("limit", refusal.rawValue))
            turnAway(connection)
            Socket.close(connection)
            return true
        }
        do throws(SystemError) {
            let key = try start(connection, variables)
            children[key] = Child(address: address, connection: connection)
        } catch {
            Log.error("not-started", .text("client", address), .text("reason", error.text))
            turnAway(connection)
            Socket.close(connection)
            admission.leave(address)
        }
        return true
    }

    private func start(_ connection: Int32, _ variables: [String]) throws(SystemError) -> UInt64 {
        switch starter {
        case .template(let template):
            nextTag += 1
            try template.start(tag: nextTag, environment: variables, descriptors: [connection])
            return nextTag
        case .exec(let path, let arguments, var environment):
            // Whoever started us may itself be under a UCSPI server.
            environment.removeAll(withPrefix: "TCP")
            environment.removeAll(withPrefix: "UNIXREMOTE")
            environment.removeAll(withPrefix: "PROTO=")
            return UInt64(try Process.spawn(
                path, arguments, Environment(environment.entries + variables), descriptors: [connection, connection, 2]))
        }
    }

    private func turnAway(_ connection: Int32) {
        guard let line = limits.line else { return }
        Socket.setNonblocking(connection)
        try? IO.writeAll(connection, Array((line + "\r\n").utf8))
    }
}
