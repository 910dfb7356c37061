// The network of the containers, and which address in it is whose. Pure: text and numbers.
import Unix

/// `172.30.0.0/16`: its first address is the host's, every mailbox has one that follows from its uid.
public struct ContainerNetwork: Sendable, Equatable {
    private let first: UInt32
    private let bits: Int

    /// As the setting container-network has it: an IPv4 network of 8 to 28 bits.
    public init(_ text: String) throws(ProvisioningError) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let address = NetworkAddress(text: String(parts[0])), !address.isIPv6, let bits = Int(parts[1]), 8...28 ~= bits else {
            throw ProvisioningError("\"\(text)\" is no network such as 172.30.0.0/16 (8 to 28 bits)")
        }
        let number = address.octets.reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
        guard number & (1 << UInt32(32 - bits) - 1) == 0 else { throw ProvisioningError("\(text): the address has more than \(bits) bits") }
        first = number
        self.bits = bits
    }

    public var text: String { "\(ContainerNetwork.text(first))/\(bits)" }

    /// The host's own address, where the outgoing server listens.
    public var gateway: String { ContainerNetwork.text(first + 1) }

    /// The address of the mailbox with this uid, the uids beginning at `firstUid`; nil: the network is too small.
    public func address(uid: UInt32, firstUid: UInt32) -> String? {
        guard uid >= firstUid, case let index = UInt64(uid - firstUid) + 2, index < UInt64(1) << UInt64(32 - bits) - 1 else { return nil }
        return ContainerNetwork.text(first + UInt32(index))
    }

    private static func text(_ number: UInt32) -> String { "\(number >> 24).\(number >> 16 & 255).\(number >> 8 & 255).\(number & 255)" }
}
