// Fuzz target: a whole session. The conversation of the unit tests plays the driver and watches the order of the steps.
//
// The input's first line is FLAGS:CUTS:DECISIONS, the rest is what the client sends.
//   FLAGS      one octet: 1 by hand, 2 spoken before the greeting, 4 narrow limits, 8 IPv6 and TLS, 16 the time is over at the end (so `@` is none, `A` by hand);
//              32 the outgoing server, to ssow@semail.test's container; with 8 to nobody who may authenticate; with 1 or 128 to the host
//   CUTS       sizes of the pieces that come at once, over and over; none or LF - 10: a line at a time
//   DECISIONS  what look-ups, passwords and disks say, over and over; none: yes
import Mail
import SMTP

private func fail(_ sentence: String) -> Never { fatalError(sentence) }

private struct Plan {
    var flags: UInt8 = 0
    var cuts: [UInt8] = []
    var decisions: [UInt8] = []
    var stream: [UInt8] = []

    init(_ input: [UInt8]) {
        guard let end = input.prefix(80).firstIndex(of: 0x0a) else { stream = input; return }
        let fields = input[..<end].split(separator: 0x3a, maxSplits: 2, omittingEmptySubsequences: false)
        flags = fields[0].first ?? 0
        if fields.count > 1 { cuts = Array(fields[1]) }
        if fields.count > 2 { decisions = Array(fields[2]) }
        stream = Array(input[(end + 1)...])
    }

    var isByHand: Bool { flags & 1 != 0 }
    var hasSpokenFirst: Bool { flags & 2 != 0 }
    var timeIsOver: Bool { flags & 16 != 0 }
    static let own = Address("ssow@semail.test")!
    var submitter: Submitter? {
        if flags & 32 == 0 { return nil }
        return flags & 129 != 0 ? .host : flags & 8 != 0 ? .nobody : .mailbox(Plan.own)
    }

    var limits: Limits {
        var limits = Limits()
        guard flags & 4 != 0 else { return limits }
        limits.messageSize = 300
        limits.recipients = 2
        limits.commandLength = 80
        limits.lineLength = 60
        limits.messagesPerSession = 3
        limits.errors = 5
        limits.hops = 2
        return limits
    }

    var client: Client {
        var client = Client()
        client.isByHand = isByHand
        client.address = Array((flags & 8 != 0 ? "2001:db8::7" : "192.0.2.7").utf8)
        if flags & 8 != 0 { client.tls = Array("TLSv1.3 TLS_AES_256_GCM_SHA384".utf8) }
        client.submitter = submitter
        client.mayAuthenticate = submitter != nil && flags & 8 != 0
        return client
    }

    /// The pieces as they arrive.
    var pieces: [ArraySlice<UInt8>] {
        var result: [ArraySlice<UInt8>] = []
        var start = 0
        while start < stream.count {
            let cut = cuts.isEmpty ? 0x0a : cuts[result.count % cuts.count]
            let end = cut == 0x0a || cut == 0
                ? stream[start...].firstIndex(of: 0x0a).map { $0 + 1 } ?? stream.count
                : cut == 0xff ? stream.count : min(stream.count, start + Int(cut))
            result.append(stream[start..<end])
            start = end
        }
        return result
    }

    /// `withDisks`: the disk may fail too; how often it is asked depends on the cuts.
    func conversation(withDisks: Bool) -> Conversation {
        let conversation = Conversation(client, limits: limits, hasSpokenFirst: hasSpokenFirst)
        var asked = 0, stored = 0
        let decisions = decisions
        func decide() -> UInt8 {
            guard !decisions.isEmpty else { return 0 }
            asked += 1
            return decisions[(asked - 1) % decisions.count]
        }
        func disk(_ step: UInt8) -> StoreFault? {
            guard withDisks, !decisions.isEmpty else { return nil }
            stored += 1
            let octet = decisions[(stored * 3) % decisions.count]
            return octet & 15 == step ? (octet & 16 == 0 ? .noSpace : octet & 32 == 0 ? .other : .overBudget) : nil
        }
        conversation.lookUpSender = { _ in
            switch decide() & 7 {
            case 5: .unknown
            case 6: .trouble
            default: .exists
            }
        }
        conversation.authenticate = { _ in
            switch decide() & 7 {
            case 4: .refused
            case 5: .slowedDown
            case 6: .unavailable
            default: .accepted(Plan.own)
            }
        }
        conversation.hasRoom = { _ in decide() & 31 != 31 }
        conversation.lookUp = { address, _ in
            switch decide() & 15 {
            case 8: .unknown
            case 9: .suspended
            case 10: .full
            case 11: .neverFits
            case 12: .trouble
            // A postmaster without a domain is nobody else's: the program never answers so.
            case 14 where !address.domain.isEmpty: .elsewhere
            case 13: .exists([Address("one@semail.test")!, Address("other@semail.test")!, address.with(domain: Conversation.hostname)])
            default: .exists([address.domain.isEmpty ? address.with(domain: Conversation.hostname) : address])
            }
        }
        conversation.openFault = { disk(1) }
        conversation.storeFault = { disk(2) }
        conversation.commitFault = { disk(3) }
        conversation.send([])
        return conversation
    }
}

private func check(_ conversation: Conversation, _ plan: Plan) {
    if let violation = conversation.violations.first { fail(violation) }
    if conversation.mostReplies > 1024 + 64 * plan.stream.count { fail("\(conversation.mostReplies) octets of replies to \(plan.stream.count)") }
    if conversation.mostContent > 65536 + 2048 { fail("\(conversation.mostContent) octets of content at once") }
    for message in conversation.messages {
        guard case .envelope(let read, let offset) = Envelope.read({ var copy = message.envelope; copy.received = 1; return copy.encoded() }() + message.content) else { fail("an envelope that cannot be read") }
        if read.recipients.map(\.address) != message.envelope.recipients.map(\.address) || read.sender != message.envelope.sender { fail("an envelope that is read otherwise") }
        if offset == 0 { fail("an envelope without its length") }
        if read.submitter != message.envelope.submitter || read.returned != message.envelope.returned || read.envelopeID != message.envelope.envelopeID
            || read.recipients.map(\.notify) != message.envelope.recipients.map(\.notify) || read.recipients.map(\.originalRecipient) != message.envelope.recipients.map(\.originalRecipient) {
            fail("an envelope that asks for something else")
        }
        checkSender(message, plan)
    }
    if plan.limits.errors < 6, conversation.codes.filter({ $0 >= 500 }).count > plan.limits.errors { fail("more errors than the limit") }
}

/// Who is not the host sends as one mailbox, in the envelope and in every field that names a sender.
private func checkSender(_ message: Conversation.Message, _ plan: Plan) {
    switch plan.submitter {
    case nil:
        let promises = message.envelope.recipients.contains { $0.notify != nil || $0.originalRecipient != nil }
        if promises || message.envelope.submitter != nil || message.envelope.returned != nil { fail("the inbound server promised something") }
        return
    case .host: return
    default: break
    }
    if message.envelope.submitter != Plan.own { fail("submitted by somebody else") }
    if let sender = message.envelope.sender, sender.key != Plan.own.key { fail("sent as somebody else") }
    let lines = message.content.split(separator: 0x0a, omittingEmptySubsequences: false).map { Array($0) }
    for field in PlainHeader.fields(lines).fields where ["from", "sender", "resent-from", "resent-sender"].contains(String(decoding: field.name, as: UTF8.self)) {
        guard let named = AddressList.parse(field.body), !named.isEmpty, named.allSatisfy({ $0.key == Plan.own.key }) else { fail("From somebody else") }
    }
}

/// Whether the octet ends in something that is no line end: a CR that no LF follows, an LF that no CR comes before.
private func isBare(_ octet: UInt8, after previous: UInt8) -> Bool { octet == 0x0a ? previous != 0x0d : previous == 0x0d }

/// A message that breaks several limits is refused for the one that was seen first, and that is a matter of its pieces.
private func repliesButForTheLimit(_ conversation: Conversation) -> [String] {
    conversation.lines.map { $0.hasPrefix("552 5.3.4 ") || $0.hasPrefix("500 5.6.0 ") || $0.hasPrefix("554 5.4.6 ") ? "refused for a limit" : $0 }
}

@_cdecl("LLVMFuzzerTestOneInput")
public func fuzzSession(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
    let plan = Plan(Array(UnsafeBufferPointer(start: data, count: size)))

    let faulty = plan.conversation(withDisks: true)
    plan.pieces.forEach { faulty.send(Array($0)) }
    check(faulty, plan)
    if plan.timeIsOver, faulty.ending == nil {
        faulty.timeIsOver()
        if faulty.ending != .closed || faulty.codes.last != 421 { fail("over in time, and not ended") }
        check(faulty, plan)
    }

    let cut = plan.conversation(withDisks: false)
    plan.pieces.forEach { cut.send(Array($0)) }
    check(cut, plan)

    // Octet by octet there is never anything behind a command, so nothing is refused for impatience.
    let slow = plan.conversation(withDisks: false)
    let hasChunks = plan.stream.indices.contains { plan.stream[$0...].prefix(4).map { $0 & 0xdf } == Array("BDAT".utf8) }
    var previous: UInt8 = 0
    for octet in plan.stream {
        slow.send([octet])
        // Chunks nobody wants may hold anything; all else ends with a bare line end.
        if !plan.isByHand, !hasChunks, isBare(octet, after: previous), slow.ending == nil { fail("a bare line end was passed over") }
        previous = octet
        if slow.ending != nil { break }
    }
    check(slow, plan)
    if !plan.hasSpokenFirst || plan.isByHand, !cut.statuses.contains("554 5.5.0") {
        if repliesButForTheLimit(cut) != repliesButForTheLimit(slow) { fail("other replies when cut otherwise:\n\(cut.lines)\n\(slow.lines)") }
        if cut.messages != slow.messages { fail("other messages when cut otherwise") }
        if cut.ending != slow.ending || cut.lookUps != slow.lookUps || cut.senderLookUps != slow.senderLookUps || cut.questions != slow.questions { fail("another course when cut otherwise") }
    }
    return 0
}
