// Questions to the resolver, within a time that a person waits: whoever is slow is asked again, and who does not answer at all is not
// asked for the rest.
import DNS
import Unix

final class Questions {
    /// No question begins later.
    private static let lastMilliseconds = 7000
    /// And none is repeated later.
    private static let repeatMilliseconds = 4000

    private let names: Names
    private let start = Clock.monotonicMilliseconds()
    private var isSilent = false

    /// A second for each server and try: what took longer is there, as a rule, when it is asked for again.
    init() throws { names = try Names(seconds: 1) }

    func exchangers(_ domain: [UInt8]) -> MailExchangers {
        ask(unknown: .unknown) { names.mailExchangers(of: domain) }
    }

    func texts(_ name: [UInt8]) -> Texts {
        ask(unknown: .unknown) { names.texts(of: name) }
    }

    /// All addresses of a host; nil: nobody can say.
    func addresses(_ host: [UInt8]) -> [NetworkAddress]? {
        var found: [NetworkAddress] = []
        for family in [AddressFamily.ipv4, .ipv6] {
            switch ask(unknown: .unknown, { names.addresses(of: host, family) }) {
            case .found(let addresses): found += addresses
            case .none: break
            case .unknown: return nil
            }
        }
        return found
    }

    private var milliseconds: Int { Clock.monotonicMilliseconds() - start }

    private func ask<Reply: Equatable>(unknown: Reply, _ question: () -> Reply) -> Reply {
        guard !isSilent, milliseconds < Questions.lastMilliseconds else { return unknown }
        let began = milliseconds
        for _ in 0..<3 {
            let reply = question()
            if reply != unknown { return reply }
            if milliseconds >= Questions.repeatMilliseconds { break }
        }
        // A refusal comes at once; silence takes its time.
        isSilent = milliseconds - began > 2000
        return unknown
    }
}
