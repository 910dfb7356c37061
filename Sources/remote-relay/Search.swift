// The search for a host that takes mail now: one after the other as the DNS prefers them, the addresses of each in a race (RFC 8305),
// until one has greeted us and is ready. The search goes on where it stopped if that one breaks.
import Mail
import Program
import Unix

struct Search {
    /// RFC 5321 5.1 wants two at least; a domain with a thousand must not keep us for ever.
    private static let mostConnections = 10

    private let destination: Destination
    private let station: Station
    /// On the monotonic clock.
    private let end: Int
    private var hosts: [Destination.Host]
    private var host: Destination.Host?
    private var addresses: [NetworkAddress] = []
    private var connections = 0
    /// What will be said if there is nobody, and how much it says.
    private var trouble: (Destination.Trouble, weight: Int)?

    /// `preferred`: one that was ready a moment ago is asked first.
    init(_ destination: Destination, _ station: Station, preferred: Destination.Host?) throws(Destination.Trouble) {
        self.destination = destination
        self.station = station
        end = Clock.monotonicMilliseconds() + station.patience.search
        hosts = try destination.hosts(station.names, hostname: station.hostname)
        if let preferred, let place = hosts.firstIndex(of: preferred) { hosts.insert(hosts.remove(at: place), at: 0) }
    }

    mutating func next() throws(Destination.Trouble) -> Session {
        while connections < Search.mostConnections, Clock.monotonicMilliseconds() < end, takeHost() {
            guard let host, let connection = connect() else { continue }
            connections += 1
            addresses.removeAll { $0 == connection.remote }
            do throws(Opening.Fault) { return try open(host, connection) } catch {
                switch error {
                case .trouble(let trouble): note(trouble, wasReached: true)
                case .tls(let text): note(Destination.Trouble(.destinationLater, "4.7.5", "\(String(decoding: host.name, as: UTF8.self)): TLS failed: \(text)"), wasReached: true)
                case .ourselves:
                    // Those that are left are no better (RFC 5321 5.1).
                    note(Destination.loop)
                    hosts = []
                    addresses = []
                }
            }
        }
        throw trouble?.0 ?? Destination.Trouble(.destinationLater, "4.4.1", "no mail server of the destination could be reached")
    }

    /// Makes sure that there are addresses to try; false: there are none any more.
    private mutating func takeHost() -> Bool {
        while addresses.isEmpty {
            guard !hosts.isEmpty else { return false }
            let next = hosts.removeFirst()
            do throws(Destination.Trouble) {
                addresses = try next.addresses(station.names)
                host = next
            } catch { note(error) }
        }
        return true
    }

    /// A connection to the host in work; nil: none of its addresses answers.
    private mutating func connect() -> Connection? {
        let left = Array(addresses.prefix(Search.mostConnections - connections))
        var race = Race(port: destination.port, milliseconds: max(1000, min(station.patience.connect, end - Clock.monotonicMilliseconds())))
        let connection = race.run(left)
        connections += race.failures.count
        for (address, error) in race.failures {
            let name = host!.address == nil ? String(decoding: host!.name, as: UTF8.self) + " " : ""
            Log.info("unreachable", .text("host", "\(name)[\(address.text)]"), .count("port", Int(destination.port)), .text("reason", error.text))
            if connection == nil { note(Destination.Trouble(.destinationLater, "4.4.1", "\(name)[\(address.text)] port \(destination.port): \(error.text)")) }
        }
        let failed = race.failures.map(\.address)
        addresses.removeAll { failed.contains($0) }
        return connection
    }

    private func open(_ host: Destination.Host, _ connection: consuming Connection) throws(Opening.Fault) -> Session {
        let address = connection.remote
        let opening = Opening(wire: Wire(connection), host: host, destination: destination, station: station, avoidsTLS: false, end: end)
        let text: String
        do throws(Opening.Fault) { return try ready(opening) } catch {
            guard case .tls(let reason) = error, destination.level == .opportunistic, !destination.wantsAuthentication else { throw error }
            text = reason
        }
        // RFC 7435: TLS that fails must not stop mail that would have gone without it. What is left of that connection is of no use.
        Log.warning("no-tls", .bytes("host", opening.label), .text("reason", text))
        var race = Race(port: destination.port, milliseconds: station.patience.connect)
        guard let second = race.run([address]) else { throw .tls(text) }
        return try ready(Opening(wire: Wire(second), host: host, destination: destination, station: station, avoidsTLS: true, end: end))
    }

    private func ready(_ opening: Opening) throws(Opening.Fault) -> Session {
        let session = try opening.run()
        Log.info("connected", .bytes("host", opening.label), .count("port", Int(destination.port)), .bytes("tls", opening.wire.protection ?? Array("none".utf8)))
        return session
    }

    /// What may pass is worth another try, whatever else is for good; and what a host has said says more than that another did not answer.
    private mutating func note(_ new: Destination.Trouble, wasReached: Bool = false) {
        let weight = new.outcome.kind.isFinal ? 0 : wasReached ? 2 : 1
        if weight >= trouble?.weight ?? 0 { trouble = (new, weight) }
    }
}
