// NOOP (RFC 5321 4.1.1.9): an argument is allowed and ignored.

extension Dialogue {
    mutating func noop(_ argument: ArraySlice<UInt8>) { reply("250 2.0.0 Still here") }
}
