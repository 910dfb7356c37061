// How long the peer is waited for, in milliseconds: the times of RFC 5321 4.5.3.2, which are the least a client should grant.

struct Patience {
    let connect: Int
    let greeting: Int
    /// EHLO, STARTTLS, AUTH, MAIL, RCPT, RSET.
    let command: Int
    let handshake: Int
    let data: Int
    /// For each piece of the message to be taken.
    let block: Int
    let final: Int
    let quit: Int
    /// For one look at all hosts that could take the message.
    let search: Int
    /// For a name server.
    let nameSeconds: Int

    /// `seconds`: the most for any of them, for trying.
    init(atMost seconds: Int?) {
        let most = seconds.map { max(1, min($0, 86400)) } ?? 86400
        func limited(_ seconds: Int) -> Int { min(seconds, most) * 1000 }
        connect = limited(30)
        greeting = limited(300)
        command = limited(300)
        handshake = limited(120)
        data = limited(120)
        block = limited(180)
        final = limited(600)
        // The peer's answer changes nothing any more; this gives it time to hear us.
        quit = limited(2)
        search = 600_000
        nameSeconds = min(5, most)
    }
}
