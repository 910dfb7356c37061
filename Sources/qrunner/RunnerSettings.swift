// What the control files say about deliveries.
import Control
import Mail
import Program
import Unix

struct RunnerSettings {
    let hostname: [UInt8]
    let deliveries: Int
    let lifetimeSeconds: Int
    let mailboxUids: ClosedRange<UInt32>
    let delayNoticeSeconds: Int
    let connections: Int
    let connectionsPerDestination: Int
    let routes: Routes
    /// There is a key for some domain: what leaves is shown to dkim-sign.
    let signs: Bool

    init(_ home: Home) throws {
        do {
            let control = try Control(home.control)
            hostname = Array(try control.text(.hostname).utf8)
            deliveries = max(1, try control.number(.deliveries))
            lifetimeSeconds = try control.number(.queueLifetime)
            mailboxUids = try control.range(.mailboxUids)
            delayNoticeSeconds = try control.number(.delayNotice)
            connections = max(1, try control.number(.connections))
            connectionsPerDestination = max(1, try control.number(.connectionsPerDestination))
            routes = try Routes(control.lines(.routes))
            signs = (try? Directory(home.keys).list().next()) != nil
        } catch let error as ControlError { throw Fatal(error.text) }
    }
}
