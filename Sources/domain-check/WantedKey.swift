// The DKIM keys that a domain must tell (RFC 6376 3.6.1), as they come on standard input, and whether it does.
import DNS
import Program
import Unix

struct WantedKey {
    private static let most = 16
    private static let octetsLimit = 65536

    let name: [UInt8]
    let text: [UInt8]

    static func read(_ source: Int32) throws -> [WantedKey] {
        var bytes: [UInt8] = []
        while true {
            let more = try IO.readSome(source, limit: 65536)
            if more.isEmpty { break }
            bytes += more
            guard bytes.count <= octetsLimit else { throw Fatal("more than \(octetsLimit) octets of keys on standard input", .failed) }
        }
        let keys = try bytes.split(separator: 0x0a).map { line -> WantedKey in
            let parts = line.split(separator: 0x09, maxSplits: 1)
            guard parts.count == 2, let name = DomainName.ascii(Array(parts[0])) else { throw Fatal("a line of standard input is not NAME, a TAB and a text", .failed) }
            return WantedKey(name: name, text: Array(parts[1]))
        }
        guard keys.count <= most else { throw Fatal("more than \(most) keys on standard input", .failed) }
        return keys
    }

    func finding(_ questions: Questions) -> Finding {
        let wanted = String(decoding: text, as: UTF8.self)
        switch questions.texts(name) {
        case .unknown: return Finding(.dkim, .unknown, name, wanted: wanted)
        case .none: return Finding(.dkim, .missing, name, wanted: wanted)
        case .found(let texts):
            // With several, a verifier may take any of them (RFC 6376 3.6.2.2).
            let isTold = texts.allSatisfy { WantedKey.key($0) == WantedKey.key(text) }
            return Finding(.dkim, isTold ? .ok : .wrong, name, wanted: wanted, found: texts.spoken)
        }
    }

    /// What signatures are checked with: the kind and the key itself, however they are written.
    private static func key(_ text: [UInt8]) -> [[UInt8]] {
        var kind = Array("rsa".utf8), key: [UInt8] = []
        for tag in text.filter({ ![0x20, 0x09, 0x0d, 0x0a].contains($0) }).split(separator: 0x3b) {
            let parts = tag.split(separator: 0x3d, maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2 else { continue }
            if parts[0].elementsEqual([0x6b]) { kind = Array(parts[1]) }
            if parts[0].elementsEqual([0x70]) { key = Array(parts[1]) }
        }
        return [kind, key]
    }
}
