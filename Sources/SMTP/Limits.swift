// What one client may cost, and who it is.
import Mail

/// Bounds of a session; each is a control file (semail-control.5).
public struct Limits: Sendable {
    /// Octets of a message as it comes over the wire (RFC 1870).
    public var messageSize = 50 << 20
    public var recipients = 100
    /// Octets of a command line, CRLF included.
    public var commandLength = 2048
    /// Octets of a line of content, CRLF included.
    public var lineLength = 64 << 10
    public var messagesPerSession = 1000
    /// Replies of class 5 before the goodbye.
    public var errors = 20
    /// Received lines before a message counts as looping (RFC 5321 6.3).
    public var hops = 100

    public init() {}
}

/// What is known of the other end before it says a word.
public struct Client: Sendable {
    /// As people write it: `192.0.2.1`; empty when a person types by hand.
    public var address: [UInt8] = []
    /// By hand: LF ends lines, nothing is pipelined too early, no error is tarpitted.
    public var isByHand = false
    /// Protocol and cipher, when tls-wrap stands before us.
    public var tls: [UInt8]?
    /// Who sends at the outgoing server; nil: this is the inbound server, where a sender is only claimed.
    public var submitter: Submitter?
    /// AUTH is offered.
    public var mayAuthenticate = false

    public init() {}
}

/// The answer to "does this mailbox exist, and has it room?"
public enum MailboxAnswer: Equatable, Sendable {
    /// The mailboxes behind an address: itself, or what an alias stands for.
    case exists([Address])
    case unknown
    /// Not ours: at the outgoing server, for another host.
    case elsewhere
    case suspended
    case full
    /// The declared size is more than the mailbox holds when empty.
    case neverFits
    /// The directory of mailboxes could not be read.
    case trouble
}

/// Why a message could not be stored.
public enum StoreFault: Error, Equatable, Sendable {
    case noSpace
    /// The submitter has sent as much as it may within an hour.
    case overBudget
    case other
}
