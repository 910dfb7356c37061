// Small words that the tests of this folder share.
import Mail

extension String {
    var octets: [UInt8] { Array(utf8) }
}

extension Sequence where Element == UInt8 {
    var text: String { String(decoding: Array(self), as: UTF8.self) }
}

/// The address that a text is, as a whole, or the reason why it is none.
func parse(_ text: [UInt8]) -> Result<Address, AddressFault> {
    var parser = AddressParser(text)
    let result = parser.mailbox()
    if case .success = result, !parser.isAtEnd { return .failure(.syntax) }
    return result
}

func parse(_ text: String) -> Result<Address, AddressFault> { parse(text.octets) }

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
