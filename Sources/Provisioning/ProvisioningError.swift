// Why a home or a mailbox could not be made, changed or removed.

/// In words that say what to do.
public struct ProvisioningError: Error {
    public let text: String
    public init(_ text: String) { self.text = text }
}
