// Why a home or a mailbox could not be made, changed or removed.

/// In words that say what to do.
public struct ProvisioningError: Error {
    public let text: String
    /// What was asked for cannot be, now or later; nil: something went wrong, and may go right when it is tried again.
    public let refusal: Refusal?

    public init(_ text: String, _ refusal: Refusal? = nil) {
        self.text = text
        self.refusal = refusal
    }
}

/// Why somebody's wish is refused: a word for programs, which say it in the language of whoever wished.
public enum Refusal: String, Sendable {
    /// The address is another's.
    case taken
    /// The name speaks for the host.
    case reserved
    /// The person has a mailbox already.
    case hasOne = "has-one"
    case badName = "bad-name"
    case badDomain = "bad-domain"
    /// The domain or subdomain is another person's.
    case domainTaken = "domain-taken"
    /// The admin does not allow this kind of domain.
    case notOffered = "not-offered"
    case noMailbox = "no-mailbox"
    /// What was typed for a confirmation is another address.
    case wrongAddress = "wrong-address"
    case badKey = "bad-key"
    case keyInUse = "key-in-use"
    case noContainer = "no-container"
    case noMessage = "no-message"
    case badRequest = "bad-request"
    /// No uid or address is left, or volumes cannot have that size.
    case full
}
