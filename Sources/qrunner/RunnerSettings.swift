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

    init(_ home: Home) throws {
        do {
            let control = try Control(home.control)
            hostname = Array(try control.text(.hostname).utf8)
            deliveries = max(1, try control.number(.deliveries))
            lifetimeSeconds = try control.number(.queueLifetime)
            mailboxUids = try control.range(.mailboxUids)
        } catch let error as ControlError { throw Fatal(error.text) }
    }
}
