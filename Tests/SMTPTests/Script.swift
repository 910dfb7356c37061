// Scripts: what a client sends, group by group, waiting for the replies in between; and what must come of it.
import Mail
import SMTP
import Testing

/// All that a client and the queue can tell of a session.
struct Outcome: Equatable, CustomStringConvertible {
    let sent: String
    let messages: [Conversation.Message]
    let ending: Conversation.Ending?
    let lookUps: [Address]
    let senderLookUps: [Address]
    let questions: [Conversation.Question]
    let pauses: Int

    var description: String {
        "\(sent)\(ending.map { "\($0)" } ?? "waiting"), \(pauses) pauses, messages \(messages.map { String(decoding: $0.content, as: UTF8.self) })"
    }
}

struct Script: CustomTestStringConvertible, Sendable {
    let name: String
    var isByHand = false
    /// At the outgoing server; AUTH is offered to nobody and to the host.
    var submitter: Submitter?
    var limits = Limits()
    let groups: [[UInt8]]

    init(_ name: String, byHand: Bool = false, as submitter: Submitter? = nil, limits: Limits = Limits(), _ groups: [String]) {
        self.name = name
        isByHand = byHand
        self.submitter = submitter
        self.limits = limits
        self.groups = groups.map { Array($0.utf8) }
    }

    var testDescription: String { name }

    /// Each group in the pieces that `cut` makes of it.
    func play(_ cut: (Int, [UInt8]) -> [[UInt8]] = { [$1] }) -> Outcome {
        let conversation = Conversation(
            Conversation.client(byHand: isByHand, submitter: submitter, mayAuthenticate: submitter == .nobody || submitter == .host), limits: limits)
        conversation.lookUpSender = { address in
            switch String(decoding: address.domain, as: UTF8.self) {
            case "semail.test": .exists
            case "trouble.test": .trouble
            default: .unknown
            }
        }
        conversation.authenticate = { question in
            switch String(decoding: question.password, as: UTF8.self) {
            case "right": .accepted(Address(localPart: question.user, domain: Array("semail.test".utf8)))
            case "slow": .slowedDown
            case "down": .unavailable
            default: .refused
            }
        }
        conversation.lookUp = { address, _ in
            switch String(decoding: address.localPart, as: UTF8.self) {
            case "nobody": .unknown
            case "full": .full
            case "anna": .elsewhere
            case "two": .exists([Address("one@semail.test")!, Address("other@semail.test")!])
            default: .exists([address])
            }
        }
        for (index, group) in groups.enumerated() { cut(index, group).forEach { conversation.send($0) } }
        conversation.send([])
        #expect(conversation.violations == [], "\(name)")
        return Outcome(sent: String(decoding: conversation.sent, as: UTF8.self), messages: conversation.messages, ending: conversation.ending,
                       lookUps: conversation.lookUps, senderLookUps: conversation.senderLookUps, questions: conversation.questions, pauses: conversation.pauses)
    }
}

/// The usual way to a 354 or a first BDAT.
func envelopeGroups(to recipients: [String] = ["x@semail.test"]) -> [String] {
    ["EHLO client.example\r\n", "MAIL FROM:<sender@example.org>\r\n" + recipients.map { "RCPT TO:<\($0)>\r\n" }.joined()]
}

/// A conversation that has got so far, its replies so far behind it.
func conversation(
    byHand: Bool = false, as submitter: Submitter? = nil, mayAuthenticate: Bool = false, limits: Limits = Limits(), after groups: [String]
) -> Conversation {
    let conversation = Conversation(Conversation.client(byHand: byHand, submitter: submitter, mayAuthenticate: mayAuthenticate), limits: limits)
    conversation.send([])
    groups.forEach { conversation.send($0) }
    return conversation
}

/// Behind 354.
func inData(limits: Limits = Limits()) -> Conversation { conversation(limits: limits, after: envelopeGroups() + ["DATA\r\n"]) }

extension Conversation.Message {
    /// What the client sent, the Received line taken off.
    var body: String {
        let text = String(decoding: content, as: UTF8.self)
        guard let date = text.range(of: "+0000\n") else { return text }
        return String(text[date.upperBound...])
    }
}

extension String {
    func range(of other: String) -> Range<Index>? { ranges(of: other).first }
}

/// The same numbers in every run: a failure can be repeated.
struct RepeatableNumbers: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}
