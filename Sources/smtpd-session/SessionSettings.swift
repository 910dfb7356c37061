// What the control files say about sessions. Read at the start of each, so that a change is in force with the next one.
import Control
import SMTP
import Unix

struct SessionSettings {
    let hostname: [UInt8]
    var limits = Limits()
    let errorPauseSeconds: Int
    let idleMilliseconds: Int
    let sessionSeconds: Int

    init(_ home: Home) throws {
        let control = try Control(home.control)
        hostname = Array(try control.text(.hostname).utf8)
        limits.messageSize = try control.number(.messageSize)
        limits.recipients = try control.number(.recipients)
        limits.commandLength = try control.number(.commandLength)
        limits.lineLength = try control.number(.lineLength)
        limits.messagesPerSession = try control.number(.messagesPerSession)
        limits.errors = try control.number(.errors)
        limits.hops = try control.number(.hops)
        errorPauseSeconds = try control.number(.errorPause)
        idleMilliseconds = try control.number(.idleTime) * 1000
        sessionSeconds = try control.number(.sessionTime)
    }
}
