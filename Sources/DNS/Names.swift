// Names looked up at the resolver that /etc/resolv.conf names. The resolver is the host's and is trusted to be it; what it passes on
// was written by strangers. Opens sockets and, at the start, resolv.conf; nothing else.
import CResolv
import Unix

/// Where a domain's mail goes (RFC 5321 5.1).
public enum MailExchangers: Equatable, Sendable {
    public struct Host: Equatable, Sendable {
        public let preference: UInt16
        public let name: [UInt8]
    }

    /// As they came, in no order.
    case hosts([Host])
    /// No MX record: the domain's own addresses count.
    case implicit
    /// RFC 7505: the domain takes no mail.
    case null
    case noSuchDomain
    /// Nobody could say now.
    case unknown
}

/// The addresses of one family that a name has.
public enum HostAddresses: Equatable, Sendable {
    case found([NetworkAddress])
    case none
    case unknown
}

/// The texts that a name has.
public enum Texts: Equatable, Sendable {
    case found([[UInt8]])
    case none
    case unknown
}

public enum AddressFamily: Sendable { case ipv4, ipv6 }

public final class Names {
    private let resolver: OpaquePointer

    /// What resolv.conf says at this moment. No name server is waited for longer than so many seconds.
    public init(seconds: Int) throws(SystemError) {
        guard let resolver = cresolv_open(Int32(clamping: max(1, seconds))) else { throw SystemError("resolver") }
        self.resolver = resolver
    }

    deinit { cresolv_close(resolver) }

    /// `domain` may be UTF-8.
    public func mailExchangers(of domain: [UInt8]) -> MailExchangers {
        guard let name = DomainName.ascii(domain) else { return .noSuchDomain }
        switch ask(name, .mx) {
        case .noSuchName: return .noSuchDomain
        case .noData: return .implicit
        case .noAnswer: return .unknown
        case .records(let records):
            let hosts = records.compactMap { record -> MailExchangers.Host? in
                if case .exchanger(let preference, let name) = record { MailExchangers.Host(preference: preference, name: name) } else { nil }
            }
            // An alias of a name without MX records answers with the alias alone.
            if hosts.isEmpty { return .implicit }
            // A null MX beside others is a mistake (RFC 7505 3), and the others count.
            let named = hosts.filter { !$0.name.isEmpty }
            return named.isEmpty ? .null : .hosts(named)
        }
    }

    public func addresses(of host: [UInt8], _ family: AddressFamily) -> HostAddresses {
        guard let name = DomainName.ascii(host) else { return .none }
        switch ask(name, family == .ipv4 ? .a : .aaaa) {
        case .noSuchName, .noData: return .none
        case .noAnswer: return .unknown
        case .records(let records):
            let addresses = records.compactMap { record -> NetworkAddress? in
                if case .address(let octets) = record { NetworkAddress(octets: octets) } else { nil }
            }
            return addresses.isEmpty ? .none : .found(addresses)
        }
    }

    public func texts(of name: [UInt8]) -> Texts {
        guard let name = DomainName.ascii(name) else { return .none }
        switch ask(name, .txt) {
        case .noSuchName, .noData: return .none
        case .noAnswer: return .unknown
        case .records(let records):
            let texts = records.compactMap { record -> [UInt8]? in if case .text(let text) = record { text } else { nil } }
            return texts.isEmpty ? .none : .found(texts)
        }
    }

    private enum Reply { case records([Record]), noSuchName, noData, noAnswer }

    private func ask(_ name: [UInt8], _ type: RecordType) -> Reply {
        let question = String(decoding: name, as: UTF8.self)
        var length = 0
        let message = [UInt8](unsafeUninitializedCapacity: 65536) { buffer, count in
            length = cresolv_ask(resolver, question, type.rawValue, buffer.baseAddress, buffer.count)
            count = max(0, length)
        }
        switch length {
        case Int(CRESOLV_NO_NAME.rawValue): return .noSuchName
        case Int(CRESOLV_NO_DATA.rawValue): return .noData
        case ..<0: return .noAnswer
        default:
            guard let answer = Answer(message) else { return .noAnswer }
            return .records(answer.records(type, of: name))
        }
    }
}
