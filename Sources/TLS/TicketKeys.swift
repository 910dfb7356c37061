// The keys by which sessions are resumed (RFC 5077, RFC 8446 4.6.1): every connection is a process of its own, so what it would
// remember goes to the client, sealed. The keys lie in a file, for all processes and over restarts.
//
// Whoever reads them can read what was sent over TLS 1.2 sessions that were resumed while they were in force: so they are replaced
// every day, and forgotten half a day later. TLS 1.3 agrees on a fresh key for a resumed session too.
import COpenSSL
import Unix

/// One of them.
struct TicketKey: Equatable {
    /// Seconds since 1970.
    let made: Int
    /// 16 octets that stand at the head of a ticket.
    let name: [UInt8]
    /// 32 octets for AES-256, 32 for HMAC-SHA256.
    let secret: [UInt8]

    static let nameCount = 16
    static let secretCount = 64

    /// `SECONDS HEX HEX`
    var line: String { "\(made) \(TicketKey.hex(name)) \(TicketKey.hex(secret))\n" }

    init(made: Int, name: [UInt8], secret: [UInt8]) {
        self.made = made
        self.name = name
        self.secret = secret
    }

    init?(line: ArraySlice<UInt8>) {
        let words = line.split(separator: 0x20)
        guard words.count == 3, let made = Int(String(decoding: words[0], as: UTF8.self)),
              let name = TicketKey.octets(words[1]), name.count == TicketKey.nameCount,
              let secret = TicketKey.octets(words[2]), secret.count == TicketKey.secretCount else { return nil }
        self.init(made: made, name: name, secret: secret)
    }

    private static func hex(_ octets: [UInt8]) -> String {
        let digits = Array("0123456789abcdef".utf8)
        return String(decoding: octets.flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] }, as: UTF8.self)
    }

    private static func octets(_ text: ArraySlice<UInt8>) -> [UInt8]? {
        let text = Array(text)
        let digits = text.compactMap { UInt8(String(UnicodeScalar($0)), radix: 16) }
        guard digits.count == text.count, text.count % 2 == 0 else { return nil }
        return stride(from: 0, to: digits.count, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
    }
}

final class TicketKeys {
    /// A key seals tickets for a day.
    static let sealingSeconds = 24 * 3600
    /// How long a ticket is good.
    static let ticketSeconds = 12 * 3600

    private static let file = "tickets"

    private let directory: Unix.Directory?
    /// Newest first.
    private var keys: [TicketKey] = []
    /// Of the file as it was read: replaced as a whole, never written again, it is another file then.
    private var stamp: (inode: UInt64, changed: Int) = (0, 0)

    /// `path`: a directory of our own. Where there is none, keys live and die with this process.
    init(_ path: String) { directory = try? Directory(path) }

    /// Reads the keys if another process has made a new one, and makes one when that is due. Returns why it could not be kept.
    func refresh() -> String? {
        read()
        let now = Clock.seconds()
        // One from the future was made by a clock that has been set back since.
        if let newest = keys.first, (0..<TicketKeys.sealingSeconds).contains(now - newest.made) { return nil }
        var octets = [UInt8](repeating: 0, count: TicketKey.nameCount + TicketKey.secretCount)
        guard RAND_bytes(&octets, Int32(octets.count)) == 1 else { return TLSFault.last("no key could be made").text }
        let new = TicketKey(made: now, name: Array(octets.prefix(TicketKey.nameCount)), secret: Array(octets.suffix(TicketKey.secretCount)))
        keys = [new] + keys.filter { isHonoured($0, now) }.prefix(3)
        do throws(SystemError) {
            // Two processes may do this at once: the tickets of one of them cost a full handshake.
            guard try directory?.replace(TicketKeys.file, with: Array(keys.map(\.line).joined().utf8), mode: 0o600) != nil else { return "there is no directory for them" }
            if let status = try directory?.status(TicketKeys.file) { stamp = (status.inode, status.changedNanoseconds) }
            return nil
        } catch { return error.text }
    }

    private func read() {
        guard let status = try? directory?.status(TicketKeys.file), stamp != (status.inode, status.changedNanoseconds) else { return }
        guard let text = try? directory?.contents(TicketKeys.file, limit: 4096) else { return }
        stamp = (status.inode, status.changedNanoseconds)
        let read = text.split(separator: 0x0a).compactMap { TicketKey(line: $0) }
        if !read.isEmpty { keys = read }
    }

    private func isHonoured(_ key: TicketKey, _ now: Int) -> Bool {
        (0..<TicketKeys.sealingSeconds + TicketKeys.ticketSeconds).contains(now - key.made)
    }

    /// For a ticket to be sealed, or for the one at hand.
    func newest() -> TicketKey? { keys.first }
    func named(_ name: UnsafeBufferPointer<UInt8>) -> TicketKey? {
        keys.first { $0.name.elementsEqual(name) && isHonoured($0, Clock.seconds()) }
    }

    /// Has the context seal and open its tickets by these keys. They must live as long as it.
    func serve(_ context: OpaquePointer) {
        SSL_CTX_set_ex_data(context, 0, Unmanaged.passUnretained(self).toOpaque())
        SSL_CTX_set_timeout(context, TicketKeys.ticketSeconds)
        // One for each connection: a client that takes a new one each time never shows the same twice (RFC 8446 C.4).
        SSL_CTX_set_num_tickets(context, 1)
        SSL_CTX_set_tlsext_ticket_key_evp_cb(context) { ssl, name, iv, cipher, mac, isSealing in
            guard let ssl, let name, let iv, let data = SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), 0) else { return -1 }
            let keys = Unmanaged<TicketKeys>.fromOpaque(data).takeUnretainedValue()
            guard isSealing == 1 else {
                // 0: no key for this ticket, so a full handshake. 1: opened.
                guard let key = keys.named(UnsafeBufferPointer(start: name, count: TicketKey.nameCount)) else { return 0 }
                guard copenssl_prepare_ticket(cipher, mac, key.secret, iv, 0) == 1 else { return -1 }
                // 2: opened, and the client gets another: its key is old, or it is good for one time only.
                return key == keys.newest() && SSL_version(ssl) < TLS1_3_VERSION ? 1 : 2
            }
            guard let key = keys.newest(), RAND_bytes(iv, EVP_MAX_IV_LENGTH) == 1 else { return -1 }
            name.update(from: key.name, count: TicketKey.nameCount)
            return copenssl_prepare_ticket(cipher, mac, key.secret, iv, 1) == 1 ? 1 : -1
        }
    }
}
