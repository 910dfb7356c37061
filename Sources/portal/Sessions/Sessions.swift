// All sessions. Bounded, so that whoever has a password cannot fill the memory.
import Unix

actor Sessions {
    /// Without a click for so long, a session ends; and in any case after so long.
    static let idleMilliseconds = 30 * 60 * 1000
    static let longestMilliseconds = 12 * 3600 * 1000
    private static let mostOfOne = 20
    private static let most = 20_000

    private var sessions: [String: Session] = [:]
    private let now: @Sendable () -> Int

    init(now: @escaping @Sendable () -> Int = { Clock.monotonicMilliseconds() }) { self.now = now }

    /// Always a new id: one that a browser brought along is never taken up.
    func begin(owner: String, isAdministrator: Bool) -> Session {
        forget()
        let own = sessions.values.filter { $0.owner == owner }
        if own.count >= Sessions.mostOfOne { removeOldest(own) }
        if sessions.count >= Sessions.most { removeOldest(Array(sessions.values)) }
        let session = Session(
            id: Secret.make(octets: 32), owner: owner, isAdministrator: isAdministrator, token: Secret.make(octets: 32),
            beganMilliseconds: now(), seenMilliseconds: now())
        sessions[session.id] = session
        return session
    }

    /// `touching`: it counts as a click, and not as the page looking after itself.
    func find(_ id: String, touching: Bool) -> Session? {
        guard var session = sessions[id] else { return nil }
        guard isAlive(session) else { sessions[id] = nil; return nil }
        if touching {
            session.seenMilliseconds = now()
            sessions[id] = session
        }
        return session
    }

    func end(_ id: String) { sessions[id] = nil }

    /// Everywhere. Returns how many there were.
    func endAll(of owner: String) -> Int {
        let own = sessions.values.filter { $0.owner == owner }
        for session in own { sessions[session.id] = nil }
        return own.count
    }

    func count(of owner: String) -> Int { sessions.values.count { $0.owner == owner && isAlive($0) } }

    private func isAlive(_ session: Session) -> Bool {
        now() - session.seenMilliseconds < Sessions.idleMilliseconds && now() - session.beganMilliseconds < Sessions.longestMilliseconds
    }

    private func forget() { for session in sessions.values where !isAlive(session) { sessions[session.id] = nil } }

    private func removeOldest(_ among: [Session]) {
        if let oldest = among.min(by: { $0.seenMilliseconds < $1.seenMilliseconds }) { sessions[oldest.id] = nil }
    }
}
