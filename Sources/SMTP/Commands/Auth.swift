// AUTH PLAIN and AUTH LOGIN (RFC 4954, RFC 4616), at the outgoing server, where the connection is encrypted or the admin allows it.
import Mail

/// How far an exchange is.
enum AuthExchange {
    /// PLAIN was named without an initial response.
    case plain
    case loginUser
    case loginPassword(user: [UInt8])
}

extension Dialogue {
    mutating func auth(_ argument: ArraySlice<UInt8>) {
        guard submitter != nil else { notImplemented(); return }
        guard client.mayAuthenticate else { reply("538 5.7.11 Passwords only over TLS: use port 465"); return }
        guard greeting?.isExtended == true else { reply("503 5.5.1 Say EHLO first"); return }
        guard transaction == nil else { reply("503 5.5.1 Not within a message"); return }
        guard !isAuthenticated else { reply("503 5.5.1 You are known already"); return }
        let words = argument.split(separator: 0x20, omittingEmptySubsequences: false)
        guard words.count <= 2, let mechanism = words.first, !mechanism.isEmpty else { reply("501 5.5.4 The form is AUTH PLAIN or AUTH LOGIN"); return }
        let isPlain = mechanism.map(\.uppercased) == Array("PLAIN".utf8)
        guard isPlain || mechanism.map(\.uppercased) == Array("LOGIN".utf8) else { reply("504 5.5.4 I know PLAIN and LOGIN"); return }
        let exchange = isPlain ? AuthExchange.plain : .loginUser
        if words.count == 2 {
            // RFC 4954 4: a single equals sign is an empty response.
            answer(exchange, Array(words[1]) == [0x3d] ? [] : Array(words[1]))
        } else {
            ask(exchange)
        }
    }

    /// Base64 of "Username:" and "Password:" is what programs of old expect; PLAIN's challenge is empty.
    private mutating func ask(_ exchange: AuthExchange) {
        mode = .auth(exchange)
        switch exchange {
        case .plain: reply("334 ")
        case .loginUser: reply("334 VXNlcm5hbWU6")
        case .loginPassword: reply("334 UGFzc3dvcmQ6")
        }
    }

    /// A line that answers a challenge.
    mutating func answer(_ exchange: AuthExchange, _ line: [UInt8]) {
        mode = .commands
        if line == [0x2a] { reply("501 5.0.0 Given up, as you wish"); return }
        guard let response = Base64.decode(line) else { reply("501 5.5.2 That is not base64"); return }
        switch exchange {
        case .plain:
            // authzid NUL authcid NUL passwd: nobody acts for another.
            let parts = response.split(separator: 0, omittingEmptySubsequences: false).map { Array($0) }
            guard parts.count == 3 else { reply("501 5.5.2 PLAIN is three strings with a NUL between them"); return }
            guard parts[0].isEmpty || parts[0] == parts[1] else { refuseCredentials(); return }
            check(user: parts[1], password: parts[2])
        case .loginUser: ask(.loginPassword(user: response))
        case .loginPassword(let user): check(user: user, password: response)
        }
    }

    private mutating func check(user: [UInt8], password: [UInt8]) {
        // What no directory has, and no interface carries, is not asked for.
        guard !user.isEmpty, !password.isEmpty, user.count + password.count < 500, !user.contains(0), !password.contains(0) else { refuseCredentials(); return }
        want(.authenticate(user: user, password: password))
    }

    mutating func answerAuthentication(_ answer: Authentication) {
        switch answer {
        case .accepted(let mailbox):
            submitter = .mailbox(mailbox)
            isAuthenticated = true
            reply("235 2.7.0 Welcome")
        case .refused: refuseCredentials()
        case .slowedDown: reply("454 4.7.0 Too many wrong passwords lately; try again later")
        case .unavailable: reply("454 4.7.0 Passwords cannot be checked now; try again later")
        }
    }

    /// A client that guesses has three tries in a session; over sessions, others count.
    private mutating func refuseCredentials() {
        failedAuthentications += 1
        reply("535 5.7.8 Wrong user or password")
        if failedAuthentications == 3, !mode.isOver {
            reply("421 4.7.0 Too many wrong passwords; good-bye")
            end()
        }
    }
}
