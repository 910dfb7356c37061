// What a session needs from the home, opened before the door is locked. A template opens it once for all its sessions.
import Control
import Program
import Queue
import Unix

/// The two servers: they differ in who may send, and to whom.
enum Role: String {
    case inbound, submission
}

final class Station {
    let home: Home
    let role: Role
    let entrance: QueueEntrance
    let resolver: Resolver
    private let control: Control
    private(set) var settings: SessionSettings

    init(_ home: Home, _ role: Role) throws {
        let control = try Control(home.control)
        self.home = home
        self.role = role
        entrance = try QueueEntrance(queue: home.queue, run: home.run, mayLeave: role == .submission)
        resolver = try Resolver(home)
        do { settings = try SessionSettings(control) } catch { throw Fatal(error.text) }
        self.control = control
    }

    /// The control files as they are now. What makes no sense is logged, and what was in force stays so.
    func refresh() {
        guard !settings.isCurrent(control) else { return }
        do throws(ControlError) { settings = try SessionSettings(control) } catch { Log.error("settings", .text("reason", error.text)) }
    }
}
