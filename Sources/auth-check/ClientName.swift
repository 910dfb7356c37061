// What a client and a user are called among the counts: names of files, made of what strangers say.
import Unix

/// An IPv4 address, or the network of an IPv6 address: one household has 2^64 of those.
struct ClientName {
    let text: String

    /// nil: by hand, or through a unix socket; there is no address.
    init?(_ client: [UInt8]) {
        guard !client.isEmpty else { return nil }
        guard let address = NetworkAddress(text: String(decoding: client, as: UTF8.self)) else { text = ClientName.fileName(client); return }
        let octets = address.octets
        guard address.isIPv6 else { text = address.text; return }
        // ::ffff:192.0.2.1 is IPv4 in other words.
        let isMapped = octets[..<10].allSatisfy { $0 == 0 } && octets[10...11].allSatisfy { $0 == 0xff }
        text = NetworkAddress(octets: isMapped ? Array(octets[12...]) : octets[..<8] + [UInt8](repeating: 0, count: 8))?.text ?? ""
    }

    /// Letters small, as directories compare them; all but letters, digits and some signs as %XX. What is longer than any user's name
    /// counts together.
    static func fileName(_ user: [UInt8]) -> String {
        let digits = Array("0123456789ABCDEF".utf8)
        var name: [UInt8] = []
        for byte in user {
            switch byte {
            case 0x41...0x5a: name.append(byte + 32)
            case 0x30...0x39, 0x61...0x7a, 0x2d, 0x2e, 0x40, 0x5f: name.append(byte)
            default: name += [0x25, digits[Int(byte >> 4)], digits[Int(byte & 15)]]
            }
        }
        return name.count <= 200 ? String(decoding: name, as: UTF8.self) : "%long"
    }
}
