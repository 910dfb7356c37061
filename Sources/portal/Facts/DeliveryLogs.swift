// The logs of sessions and of qrunner, as far as they tell what became of messages. Read whenever somebody asks, the newest megabytes
// of each; nothing of them is kept.
import Queue
import Unix

struct DeliveryLogs: Sendable {
    static let installed = "/var/log/semail"
    /// Who says that a message was accepted.
    private static let sessionServices = ["inbound", "outbound", "outbound-tls", "outbound-local"]
    private static let deliveryService = "qrunner"
    /// Of each service; a file of svlogd's has one.
    private static let mostOctets = 8 << 20

    private let directory: String

    init(_ directory: String) { self.directory = directory }

    /// Messages that somebody has sent or received, the newest first. `container`: where it sends from without a password. What was
    /// before `since` was somebody else's, who had the address or the container's then.
    func stories(of address: String, container: String?, since: Int, most: Int) throws -> [MessageStory] {
        var stories: [QueueID: MessageStory] = [:]
        // What the person has sent: a session says whose it was, or it came from the person's container.
        for service in DeliveryLogs.sessionServices {
            try forEachLine(service) { line in
                guard line.has(.queued), let id = line.id, line.value(.by) == address || container != nil && line.value(.client) == container,
                      let parsed = LogLine(line), parsed.seconds >= since else { return }
                stories[id] = MessageStory(id: id.text, isSent: true, accepted: parsed.seconds)
            }
        }
        // What has become of that, and what came for the person.
        try forEachLine(DeliveryLogs.deliveryService) { line in
            guard let id = line.id else { return }
            let isSent = stories[id]?.isSent == true
            // Of a message of somebody else, only what concerns this recipient: others' addresses are nobody's business.
            guard isSent || line.value(.to).map({ $0.lowercased() == address }) == true, let parsed = LogLine(line), parsed.seconds >= since, let event = MessageEvent(parsed) else { return }
            if !isSent, event.kind == .reported || event.kind == .ordered { return }
            stories[id, default: MessageStory(id: id.text, isSent: false, accepted: id.seconds ?? parsed.seconds)].add(event)
        }
        return Array(stories.values.sorted { ($0.accepted, $0.id) > ($1.accepted, $1.id) }.prefix(most))
    }

    /// How many recipients got their mail, had to wait, or will not get it, in each span of the time before now.
    func deliveries(before now: Int, spans: Int, spanSeconds: Int) throws -> [DeliveryCount] {
        var counts = [DeliveryCount](repeating: DeliveryCount(), count: spans)
        let start = now - spans * spanSeconds
        try forEachLine(DeliveryLogs.deliveryService) { line in
            guard let kind = line.outcome, let seconds = LogLine.time(line.bytes.prefix(19)), seconds >= start, seconds < now else { return }
            counts[(seconds - start) / spanSeconds].add(kind)
        }
        return counts
    }

    /// The newest of what did not go well, for the administrator.
    func troubles(most: Int) throws -> [(id: String, event: MessageEvent)] {
        var troubles: [(id: String, event: MessageEvent)] = []
        try forEachLine(DeliveryLogs.deliveryService) { line in
            guard line.outcome == .deferred || line.outcome == .failed, let id = line.id, let parsed = LogLine(line), let event = MessageEvent(parsed) else { return }
            troubles.append((id.text, event))
            // Far fewer are shown than a bad day has.
            if troubles.count > 4 * most { troubles.removeFirst(2 * most) }
        }
        return troubles.suffix(most).reversed()
    }

    // MARK: The files

    private func forEachLine(_ service: String, _ body: (RawLine) throws -> Void) throws {
        for file in try files(service) {
            // A file may be rotated away under us; its lines are then in the next one.
            guard let bytes = try? Path.contents(file, limit: DeliveryLogs.mostOctets) else { continue }
            try bytes.withUnsafeBufferPointer { buffer in
                var start = 0
                while start < buffer.count {
                    let end = buffer[start...].firstIndex(of: 0x0a) ?? buffer.count
                    try body(RawLine(bytes: UnsafeBufferPointer(rebasing: buffer[start..<end])))
                    start = end + 1
                }
            }
        }
    }

    /// Oldest first, as many of the newest as there is room for. A service that is not installed has none.
    private func files(_ service: String) throws -> [String] {
        do throws(SystemError) {
            let directory = try Directory(self.directory + "/" + service)
            // svlogd's names of full files sort by time; `current` is the newest.
            let names = try directory.names().filter { $0.hasPrefix("@") }.reversed()
            var chosen: [String] = [], octets = 0
            for name in ["current"] + names where octets < DeliveryLogs.mostOctets {
                octets += (try? directory.status(name))?.size ?? 0
                chosen.append(self.directory + "/" + service + "/" + name)
            }
            return chosen.reversed()
        } catch {
            if error.isMissing { return [] }
            throw error
        }
    }
}
