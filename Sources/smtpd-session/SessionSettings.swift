// What the control files say about sessions.
import Control
import SMTP
import Unix

struct SessionSettings {
    let hostname: [UInt8]
    var limits = Limits()
    let errorPauseSeconds: Int
    let idleMilliseconds: Int
    let sessionSeconds: Int
    let takesPasswordsInTheClear: Bool
    let mailboxUids: ClosedRange<UInt32>
    let messagesPerHour: Int
    let recipientsPerHour: Int
    private let stamps: [Control.Stamp?]

    private static let used: [Setting] = [
        .hostname, .messageSize, .recipients, .commandLength, .lineLength, .messagesPerSession, .errors, .hops, .errorPause, .idleTime, .sessionTime,
        .authWithoutTLS, .messagesPerHour, .recipientsPerHour, .mailboxUids,
    ]

    init(_ control: borrowing Control) throws(ControlError) {
        // Before the values: a file that changes in between looks changed at the next look.
        stamps = SessionSettings.stamps(control)
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
        takesPasswordsInTheClear = try control.isOn(.authWithoutTLS)
        mailboxUids = try control.range(.mailboxUids)
        messagesPerHour = try control.number(.messagesPerHour)
        recipientsPerHour = try control.number(.recipientsPerHour)
    }

    /// Reading a dozen files costs a session a tenth of its time; asking whether they have changed, a hundredth.
    func isCurrent(_ control: borrowing Control) -> Bool { stamps == SessionSettings.stamps(control) }

    private static func stamps(_ control: borrowing Control) -> [Control.Stamp?] {
        var stamps: [Control.Stamp?] = []
        stamps.reserveCapacity(used.count)
        for setting in used { stamps.append(control.stamp(setting)) }
        return stamps
    }
}
