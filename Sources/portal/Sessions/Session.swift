// Who has signed in, and until when. In memory alone.
import Unix

struct Session: Sendable, Equatable {
    /// 32 octets at random, in hexadecimal: whoever has it is the person.
    let id: String
    /// The directory uid of the person.
    let owner: String
    /// A member of the administrators' group, when signing in.
    let isAdministrator: Bool
    /// What forms given to this session carry; nobody else knows it.
    let token: String
    let beganMilliseconds: Int
    var seenMilliseconds: Int
}

/// Octets that nobody can guess, in hexadecimal.
enum Secret {
    static func make(octets: Int) -> String {
        Hex.text((0..<octets / 8).flatMap { _ in
            let bits = Random.bits()
            return (0..<8).map { UInt8(truncatingIfNeeded: bits >> (8 * UInt64($0))) }
        })
    }

    /// Whether the text has as many hexadecimal digits, small ones, as `make` gives for so many octets.
    static func isOne(_ text: String, octets: Int) -> Bool {
        text.utf8.count == 2 * octets && text.utf8.allSatisfy { 0x30...0x39 ~= $0 || 0x61...0x66 ~= $0 }
    }

    /// Compared without telling by the time it takes how much of it was right.
    static func matches(_ one: String, _ other: String) -> Bool {
        let left = Array(one.utf8), right = Array(other.utf8)
        guard left.count == right.count else { return false }
        return zip(left, right).reduce(UInt8(0)) { $0 | ($1.0 ^ $1.1) } == 0
    }
}
