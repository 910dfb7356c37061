// The header section of a submitted message, made fit for travel as it passes by (RFC 6409 8): Date, Message-ID and From are added
// where they are missing, Bcc is left out, and the fields that say who sends are kept for a look. Lines of any number and length
// pass; only what is kept is bounded.
import Mail

struct SubmissionHeader {
    /// What is added if the message lacks it.
    struct Additions {
        let from: [UInt8]
        let date: [UInt8]
        let messageID: [UInt8]
    }

    private enum Place {
        /// A line has begun, and its name is not complete.
        case name
        case passing, leavingOut, keeping
        case body
    }

    private let additions: Additions
    private var place = Place.name
    /// Of the line that has begun, what was not passed on yet.
    private var pending: [UInt8] = []
    private var isFirstOctet = true
    /// The last field was left out, kept or passed on; a folded line goes the same way.
    private var field = Place.body
    private var hasDate = false
    private var hasMessageID = false
    private var fromFields = 0
    /// Bodies of From, Sender and their Resent forms, each ended by a line end.
    private(set) var identities: [[UInt8]] = []
    private var keptOctets = 0
    /// More was to be kept than anybody means.
    private(set) var isExcessive = false

    /// A field's name has no more octets; what is longer is no field.
    private static let nameLimit = 256
    private static let keptLimit = 65536
    private static let identityNames = ["from", "sender", "resent-from", "resent-sender"].map { Array($0.utf8) }

    init(_ additions: Additions) { self.additions = additions }

    var isInBody: Bool { place == .body }
    var hasOneFrom: Bool { fromFields <= 1 }

    /// A piece of a line, without its end.
    mutating func take(_ run: UnsafeRawBufferPointer, into output: inout [UInt8]) {
        var rest = run[...]
        while !rest.isEmpty {
            switch place {
            case .body, .passing:
                output.append(contentsOf: rest)
                return
            case .leavingOut: return
            case .keeping:
                output.append(contentsOf: rest)
                keep(rest)
                return
            case .name:
                let byte = rest.removeFirst()
                if isFirstOctet, byte == 0x20 || byte == 0x09, field != .body {
                    // Folded: the field goes on.
                    place = field
                    isFirstOctet = false
                    if place != .leavingOut { output.append(byte) }
                    if place == .keeping { keep(CollectionOfOne(byte)) }
                    continue
                }
                isFirstOctet = false
                pending.append(byte)
                if byte == 0x3a { beginField(&output) } else if !isOfName(byte) || pending.count > SubmissionHeader.nameLimit { endWithoutBlank(&output) }
            }
        }
    }

    /// The line has ended; `output` gets its LF.
    mutating func endLine(into output: inout [UInt8]) {
        switch place {
        case .name where pending.isEmpty && isFirstOctet:
            add(to: &output)
            place = .body
            output.append(0x0a)
        case .name:
            // A line without a colon is no field: the body has begun.
            endWithoutBlank(&output)
            output.append(0x0a)
        case .leavingOut: beginLine()
        case .passing:
            output.append(0x0a)
            beginLine()
        case .keeping:
            output.append(0x0a)
            keep(CollectionOfOne(0x0a))
            beginLine()
        case .body: output.append(0x0a)
        }
    }

    /// The message is complete; it may be all header.
    mutating func end(into output: inout [UInt8]) {
        if place == .name { add(to: &output) }
        place = .body
    }

    private mutating func beginLine() {
        place = .name
        isFirstOctet = true
    }

    /// Printable ASCII; before the colon there may be space, as once there could (RFC 5322 4.5).
    private func isOfName(_ byte: UInt8) -> Bool {
        if byte == 0x20 || byte == 0x09 { return pending.count > 1 }
        let previous = pending.dropLast().last
        return 0x21...0x7e ~= byte && previous != 0x20 && previous != 0x09
    }

    private mutating func beginField(_ output: inout [UInt8]) {
        var name = pending.dropLast()
        while let last = name.last, last == 0x20 || last == 0x09 { name.removeLast() }
        let key = name.map(\.lowercased)
        guard !key.isEmpty else { endWithoutBlank(&output); return }
        place = .passing
        if key == Array("bcc".utf8) || key == Array("resent-bcc".utf8) { place = .leavingOut }
        if key == Array("date".utf8) { hasDate = true }
        if key == Array("message-id".utf8) { hasMessageID = true }
        if SubmissionHeader.identityNames.contains(key) {
            place = .keeping
            identities.append([])
            if key == Array("from".utf8) { fromFields += 1 }
            // However many there are, each costs something.
            keptOctets += 64
            if keptOctets > SubmissionHeader.keptLimit { isExcessive = true }
        }
        field = place
        if place != .leavingOut { output += pending }
        pending.removeAll(keepingCapacity: true)
    }

    private mutating func keep(_ octets: some Collection<UInt8>) {
        keptOctets += octets.count
        if keptOctets > SubmissionHeader.keptLimit { isExcessive = true; return }
        identities[identities.count - 1] += octets
    }

    /// What is no field begins the body; the empty line before it is ours.
    private mutating func endWithoutBlank(_ output: inout [UInt8]) {
        add(to: &output)
        output.append(0x0a)
        output += pending
        pending = []
        place = .body
    }

    private mutating func add(to output: inout [UInt8]) {
        if fromFields == 0 { output += Array("From: <".utf8) + additions.from + Array(">\n".utf8) }
        if !hasDate { output += Array("Date: ".utf8) + additions.date + [0x0a] }
        if !hasMessageID { output += Array("Message-ID: <".utf8) + additions.messageID + Array(">\n".utf8) }
    }
}
