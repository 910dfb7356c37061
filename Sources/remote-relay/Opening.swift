// From a connection to a session that takes mail: greeting, EHLO or HELO, TLS, AUTH (RFC 5321 3.1 and 3.2, RFC 3207, RFC 4954).
// The peer is a stranger; what it says before TLS counts for nothing after it.
import Mail
import Program
import TLS
import Unix

struct Opening {
    enum Fault: Error {
        case trouble(Destination.Trouble)
        /// The peer greets by our own name.
        case ourselves
        /// TLS was offered and did not come about.
        case tls(String)
    }

    let wire: Wire
    let host: Destination.Host
    let destination: Destination
    let station: Station
    /// Not even if it is offered.
    let avoidsTLS: Bool
    /// The search for a host ends then, on the monotonic clock.
    let end: Int

    /// `mx.example.org [192.0.2.1]`
    var label: [UInt8] {
        let address = Array("[\(wire.remote.text)]".utf8)
        return host.address == nil ? host.name + [0x20] + address : address
    }

    func run() throws(Fault) -> Session {
        if destination.level == .implicit { try secure() }
        let greeting = try reply(within: station.patience.greeting)
        guard greeting.code == 220 else {
            // RFC 7504 3: 521 says that there never is mail here.
            throw .trouble(Destination.Trouble(greeting, greeting.code == 521 ? .destinationNever : .destinationLater, host: label))
        }
        let name = greeting.lines[0].prefix { $0 != 0x20 }.map(\.lowercased)
        // Named by the admin, it may be another server of this host; by the DNS, it would send the mail to us again.
        if !destination.isHost, !destination.mayBeOurselves, host.address == nil, name == station.hostname.map(\.lowercased) { throw .ourselves }

        var capabilities = try hello()
        if destination.level != .implicit, destination.level != .none, !avoidsTLS {
            if capabilities.hasStartTLS {
                if try startTLS() { capabilities = try hello() }
            } else if destination.level.demandsTLS || destination.wantsAuthentication {
                throw trouble("4.7.4", "the mail server offers no TLS, and mail for this destination goes only with it")
            }
        }
        if destination.wantsAuthentication { try authenticate(capabilities) }
        return Session(wire, capabilities, host: host, label: label, patience: station.patience)
    }

    // MARK: EHLO

    private func hello() throws(Fault) -> Capabilities {
        let answer = try ask(Array("EHLO ".utf8) + station.hostname)
        if answer.isDone { return Capabilities(answer) }
        guard answer.severity == 5 else { throw refusal(answer) }
        // RFC 5321 3.2: one that does not know EHLO.
        let older = try ask(Array("HELO ".utf8) + station.hostname)
        guard older.isDone else { throw refusal(older) }
        return Capabilities()
    }

    // MARK: TLS

    /// False: the peer offers it and does not do it, and that is no matter.
    private func startTLS() throws(Fault) -> Bool {
        let answer = try ask(Array("STARTTLS".utf8))
        guard answer.code == 220 else {
            if destination.level == .opportunistic, !destination.wantsAuthentication, answer.code != 421 {
                Log.warning("no-tls", .bytes("host", label), .bytes("reason", answer.text))
                return false
            }
            throw refusal(answer)
        }
        // Octets behind the answer are from somebody who cannot do TLS.
        if wire.hasUnread { throw .tls("the peer went on in the clear") }
        try secure()
        return true
    }

    private func secure() throws(Fault) {
        do throws(TLSFault) {
            let settings = try station.settings(isVerified: destination.level.isVerified)
            try wire.secure(settings, serverName: host.certificateName, milliseconds: limited(station.patience.handshake))
        } catch { throw .tls(error.text) }
    }

    // MARK: AUTH

    private func authenticate(_ capabilities: Capabilities) throws(Fault) {
        guard let credentials = station.credentials(for: destination.name) else {
            throw trouble("4.3.5", "control/route-passwords has no line for \(String(decoding: destination.name, as: UTF8.self))")
        }
        // A password goes over the network in the clear only where the admin has forbidden TLS.
        guard wire.protection != nil || destination.level == .none else { throw trouble("4.7.4", "the password for this destination goes only over TLS") }
        let final: Reply
        if capabilities.mechanisms.contains("PLAIN") {
            let response = Base64.encode([0] + credentials.user + [0] + credentials.password)
            final = try ask(Array("AUTH PLAIN ".utf8) + response)
        } else if capabilities.mechanisms.contains("LOGIN") {
            try expectQuestion(ask(Array("AUTH LOGIN".utf8)))
            try expectQuestion(ask(Base64.encode(credentials.user)))
            final = try ask(Base64.encode(credentials.password))
        } else {
            throw trouble("4.7.0", "the mail server offers neither AUTH PLAIN nor AUTH LOGIN")
        }
        guard final.code == 235 else { throw refusal(final) }
    }

    private func expectQuestion(_ reply: Reply) throws(Fault) { if reply.code != 334 { throw refusal(reply) } }

    // MARK: Words

    private func ask(_ command: [UInt8]) throws(Fault) -> Reply {
        do throws(Broken) { try wire.send(command + [0x0d, 0x0a], milliseconds: limited(station.patience.command)) } catch { throw trouble("4.4.2", error.text) }
        return try reply(within: station.patience.command)
    }

    private func reply(within milliseconds: Int) throws(Fault) -> Reply {
        do throws(Broken) { return try wire.reply(milliseconds: limited(milliseconds)) } catch { throw trouble("4.4.2", error.text) }
    }

    private func limited(_ milliseconds: Int) -> Int { max(1000, min(milliseconds, end - Clock.monotonicMilliseconds())) }

    private func refusal(_ reply: Reply) -> Fault { .trouble(Destination.Trouble(reply, .destinationLater, host: label)) }

    private func trouble(_ status: String, _ text: String) -> Fault {
        .trouble(Destination.Trouble(.destinationLater, status, "\(String(decoding: label, as: UTF8.self)): \(text)"))
    }
}
