// The template's side: it keeps some processes forked in advance, each waiting for one piece of work, so that nobody
// waits for a fork. The spare ones read the starter's requests themselves; whichever the kernel wakes has the work,
// tells the template which tag it took, and the template forks the next.
import Unix

public enum TemplateServer {
    /// The socket to the starter, if this program was started as a template.
    public static func descriptor(_ environment: Environment) -> Int32? {
        guard let text = environment["TEMPLATEFD"], let raw = Int32(text), raw >= 3 else { return nil }
        return raw
    }

    /// Serves requests of at most `limit` octets with `spares` processes in advance; `refresh` is called before a fork, once a second at
    /// most: each child looks for itself whether something has changed, and what the template has seen it need not read.
    /// `beside`: another template, to which the children hand on what they do not do themselves. What it reports nobody needs; without it
    /// there is nothing to serve.
    /// Returns in each child that got work, with it; in the template itself it never returns.
    public static func serve(_ socket: Int32, spares: Int, limit: Int, beside: Template? = nil, refresh: () -> Void = {}) throws(SystemError) -> TemplateRequest {
        let signals = try Signals([Signals.childEnded, Signals.terminate])
        let taken = try Descriptor.pipe()
        Socket.setNonblocking(taken.first.raw)
        var processes: [Int32: [UInt8]] = [:]  // By pid, the tag of its work; empty while it waits for some.
        var waiting = 0
        var refreshed = -1000
        // No socket, so nothing comes of it; but what the language sets up for the first request is set up before the forks.
        _ = try? Socket.receive(taken.first.raw, limit: 1)
        let watched = [signals.descriptor.raw, taken.first.raw] + (beside.map { [$0.descriptor] } ?? [])
        Process.prepareForks()
        while true {
            while waiting < spares {
                let now = Clock.monotonicMilliseconds()
                if now - refreshed >= 1000 {
                    refreshed = now
                    refresh()
                }
                guard let pid = try? Process.fork() else { break }
                if pid == 0 { return try wait(socket, taken.second.raw, limit: limit) }
                processes[pid] = []
                waiting += 1
            }
            // With nobody waiting, requests would go unheard: they are refused here until a fork succeeds again.
            let isShort = waiting == 0
            var isBroken = false
            let ready = try IO.waitReadable(watched, orClosed: socket, readable: isShort, milliseconds: waiting < spares ? 100 : nil)
            guard let ready, let isHeard = ready.last else { continue }
            if ready[1] { waiting -= note(taken.first.raw, &processes) }
            if let beside, ready[2] {
                while beside.next() != nil {}
                if beside.isGone { isBroken = true }
            }
            if ready[0] {
                // SIGTERM may reach a whole process group; the starter decides when work ends, by closing the socket.
                while signals.next() != nil {}
                while let (pid, status) = Process.reap() {
                    // It may have taken work since we last looked, and ended: its word is in the pipe before its end is.
                    if processes[pid]?.isEmpty == true { waiting -= note(taken.first.raw, &processes) }
                    guard let tag = processes.removeValue(forKey: pid) else { continue }
                    if !tag.isEmpty { report(tag, status, to: socket); continue }
                    waiting -= 1
                    // Killed while it waited, or just after it took work that nobody will now report: the starter must not
                    // wait for that for ever. It ends with us, and its supervisor starts both again.
                    if status != 0 { isBroken = true }
                }
            }
            if isBroken { Socket.shutDown(socket) }
            if isHeard, isShort, !isBroken, let (bytes, descriptors) = try? Socket.receive(socket, limit: limit) {
                descriptors.forEach(Socket.close)
                report(Array(bytes.prefix(8)), Template.couldNotFork, to: socket)
            } else if isHeard || isBroken {
                // The starter is gone. The spare ones see it too and end; the others finish their work.
                while !processes.isEmpty {
                    _ = try IO.waitReadable([signals.descriptor.raw], milliseconds: nil)
                    while signals.next() != nil {}
                    while let (pid, _) = Process.reap() { processes[pid] = nil }
                }
                Process.exit(Ending.done.rawValue)
            }
        }
    }

    /// In a spare process: its work, when there is some.
    private static func wait(_ socket: Int32, _ taken: Int32, limit: Int) throws(SystemError) -> TemplateRequest {
        Signals.reset()
        while true {
            guard let (bytes, descriptors) = try Socket.receive(socket, limit: limit) else { Process.exit(Ending.done.rawValue) }
            guard let (tag, request) = TemplateRequest.decode(bytes, descriptors) else { descriptors.forEach(Socket.close); continue }
            let pid = Process.id
            // Should the template not hear of it, the work is done all the same.
            try? IO.writeAll(taken, (0..<4).map { UInt8(truncatingIfNeeded: pid >> (8 * $0)) } + tag)
            Socket.close(socket)
            return request
        }
    }

    /// Reads which processes have taken work; returns how many.
    private static func note(_ taken: Int32, _ processes: inout [Int32: [UInt8]]) -> Int {
        var buffer = [UInt8](repeating: 0, count: 12 * 64)
        var count = 0
        while let got = buffer.withUnsafeMutableBytes({ try? IO.read(taken, into: $0) }), got > 0 {
            for start in stride(from: 0, to: got - got % 12, by: 12) {
                let pid = (0..<4).reduce(Int32(0)) { $0 | Int32(buffer[start + $1]) << (8 * Int32($1)) }
                processes[pid] = Array(buffer[start + 4..<start + 12])
                count += 1
            }
        }
        return count
    }

    private static func report(_ tag: [UInt8], _ status: Int32, to socket: Int32) {
        let code = UInt32(bitPattern: status)
        // The starter may be gone; then nobody asks.
        try? Socket.send(socket, tag + (0..<4).map { UInt8(truncatingIfNeeded: code >> (8 * $0)) })
    }
}
