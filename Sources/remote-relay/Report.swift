// What is said of a message, to qrunner as to the admin: a line for each recipient. Pure.
import Mail
import Program

enum Report {
    static func lines(_ envelope: Envelope, _ outcomes: [Outcome]) -> [UInt8] {
        var text: [UInt8] = []
        for (recipient, outcome) in zip(envelope.recipients, outcomes) {
            if !text.isEmpty { text.append(0x0a) }
            text += outcome.line(recipient.address.bytes)
        }
        return text
    }

    /// The worst that came of it decides.
    static func ending(_ outcomes: [Outcome]) -> Ending {
        if outcomes.contains(where: { $0.kind == .tryAgain || $0.kind == .destinationLater }) { return .tryAgain }
        return outcomes.contains { $0.kind.isFinal } ? .failed : .done
    }
}
