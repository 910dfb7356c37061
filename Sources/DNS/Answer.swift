// A name server's answer (RFC 1035 4), read with distrust: whoever holds a domain writes these octets. Pure: octets in, records out.

/// One record of an answer.
public enum Record: Equatable, Sendable {
    /// An IPv4 or IPv6 address.
    case address([UInt8])
    /// RFC 1035 3.3.9; the name is without its last dot, and empty for the root.
    case exchanger(preference: UInt16, name: [UInt8])
    /// RFC 1035 3.3.14; its strings joined, as SPF, DKIM and DMARC read them (RFC 7208 3.3).
    case text([UInt8])
}

public enum RecordType: UInt16, Sendable {
    case a = 1
    case mx = 15
    case txt = 16
    case aaaa = 28
}

public struct Answer {
    private static let alias: UInt16 = 5
    private static let internet: UInt16 = 1
    /// More than anybody needs, and few enough to look through.
    private static let mostRecords = 256
    private static let mostAliases = 16

    private let message: [UInt8]
    /// Owner, type, and where the data is.
    private var entries: [(owner: [UInt8], type: UInt16, data: Range<Int>)] = []

    /// nil: it cannot be read.
    public init?(_ message: [UInt8]) {
        self.message = message
        guard message.count >= 12 else { return nil }
        var place = 12
        for _ in 0..<number(at: 4) {
            guard let (_, next) = name(at: place), next + 4 <= message.count else { return nil }
            place = next + 4
        }
        for _ in 0..<min(number(at: 6), Answer.mostRecords) {
            guard let (owner, next) = name(at: place), next + 10 <= message.count else { return nil }
            let start = next + 10
            let end = start + number(at: next + 8)
            guard end <= message.count else { return nil }
            if number(at: next + 2) == Answer.internet { entries.append((owner, UInt16(number(at: next)), start..<end)) }
            place = end
        }
    }

    /// The records of one type for a name, or for what it is an alias of.
    public func records(_ type: RecordType, of name: [UInt8]) -> [Record] {
        var wanted = name.map(Answer.lowercased)
        for _ in 0...Answer.mostAliases {
            let found = entries.filter { $0.type == type.rawValue && $0.owner == wanted }
            if !found.isEmpty { return found.compactMap { record(type, $0.data) } }
            guard let alias = entries.first(where: { $0.type == Answer.alias && $0.owner == wanted }),
                  let (target, _) = self.name(at: alias.data.lowerBound) else { return [] }
            wanted = target
        }
        return []
    }

    private func record(_ type: RecordType, _ data: Range<Int>) -> Record? {
        switch type {
        case .a: return data.count == 4 ? .address(Array(message[data])) : nil
        case .aaaa: return data.count == 16 ? .address(Array(message[data])) : nil
        case .mx:
            guard data.count > 2, let (name, _) = name(at: data.lowerBound + 2) else { return nil }
            return .exchanger(preference: UInt16(number(at: data.lowerBound)), name: name)
        case .txt: return strings(data).map(Record.text)
        }
    }

    /// RFC 1035 3.3: one or more, each with its length in front; nil: they do not fill the data.
    private func strings(_ data: Range<Int>) -> [UInt8]? {
        guard !data.isEmpty else { return nil }
        var text: [UInt8] = []
        text.reserveCapacity(data.count)
        var place = data.lowerBound
        while place < data.upperBound {
            let end = place + 1 + Int(message[place])
            guard end <= data.upperBound else { return nil }
            text += message[(place + 1)..<end]
            place = end
        }
        return text
    }

    private func number(at place: Int) -> Int { Int(message[place]) << 8 | Int(message[place + 1]) }

    /// A name in small letters, its labels joined by dots, and where the octets behind it begin. RFC 1035 4.1.4: it may end in
    /// a pointer to another name; each leads further back, so that none leads in a circle.
    private func name(at start: Int) -> (name: [UInt8], next: Int)? {
        var name: [UInt8] = []
        var place = start, earliest = start
        var next: Int?
        while place < message.count {
            let length = Int(message[place])
            switch length {
            case 0: return (name, next ?? place + 1)
            case 1...63:
                guard place + length < message.count, name.count + length < 253 else { return nil }
                if !name.isEmpty { name.append(0x2e) }
                let label = message[(place + 1)...(place + length)]
                // A dot within a label would make two names of one.
                guard !label.contains(0x2e) else { return nil }
                name += label.map(Answer.lowercased)
                place += length + 1
            case 0xc0...:
                guard place + 1 < message.count else { return nil }
                if next == nil { next = place + 2 }
                place = number(at: place) & 0x3fff
                guard place < earliest else { return nil }
                earliest = place
            default: return nil
            }
        }
        return nil
    }

    private static func lowercased(_ byte: UInt8) -> UInt8 { 0x41...0x5a ~= byte ? byte + 32 : byte }
}
