// The names we answer to as a server, each with its certificate: a directory of NAME.pem, read again when something in it has changed.
import COpenSSL
import Unix

/// Something an admin should know about certificates or ticket keys.
public enum TLSNotice: Sendable {
    /// So many certificates are in force from now on.
    case replaced(Int)
    /// A file that cannot be used: what was in force for its name stays so.
    case refused(file: String, reason: String)
    /// A file with a key that others may read.
    case exposed(file: String)
    /// Sessions cannot be resumed by other processes.
    case ticketsNotKept(String)
}

public final class TLSServerSettings {
    /// The certificate for those who ask for no name that we have.
    public static let fallback = "default"

    private static let namesLimit = 1000

    private struct Stamp: Equatable {
        let name: String
        let inode: UInt64
        let changed: Int
        let size: Int
    }

    private let directory: Unix.Directory
    private let tickets: TicketKeys
    private var ticketsReason: String?
    private var identities: [String: TLSIdentity] = [:]
    /// Of the directory and of every file in it, as they were when they were read.
    private var stamps: [Stamp] = []
    /// A file that was written just before it was read may be written again within the same tick of the file system's clock.
    private var isSettled = false
    /// Made before the fork for the connection after it.
    private var next: OpaquePointer?

    /// `certificates`: a directory with `default.pem`, and `NAME.pem` for each further name; a key may be in a file of its own, `NAME.key`.
    /// `tickets`: a directory of our own, for the keys by which sessions are resumed.
    public init(certificates: String, tickets: String) throws(TLSFault) {
        do throws(SystemError) { directory = try Directory(certificates) } catch { throw TLSFault(error.text) }
        self.tickets = TicketKeys(tickets)
    }

    /// Reads what has changed. It costs a system call per file, so that every connection can afford it.
    public func refresh() -> [TLSNotice] {
        var notices: [TLSNotice] = []
        let reason = tickets.refresh()
        if let reason, reason != ticketsReason { notices.append(.ticketsNotKept(reason)) }
        ticketsReason = reason
        guard !isSettled || stamp(stamps.map(\.name)) != stamps else { return notices }
        notices += load()
        return notices
    }

    /// There is a certificate for everybody.
    public var isUsable: Bool { identities[TLSServerSettings.fallback] != nil }

    private func stamp(_ names: [String]) -> [Stamp] {
        names.map { name in
            guard let status = try? directory.status(name) else { return Stamp(name: name, inode: 0, changed: 0, size: 0) }
            return Stamp(name: name, inode: status.inode, changed: status.changedNanoseconds, size: status.size)
        }
    }

    private func load() -> [TLSNotice] {
        let files: [String]
        do throws(SystemError) { files = try directory.names() } catch { return [.refused(file: directory.path, reason: error.text)] }
        // Before the files are read: what is written meanwhile is read the next time.
        let fresh = stamp(["."] + files.prefix(2 * TLSServerSettings.namesLimit))
        let isNew = fresh != stamps
        stamps = fresh
        isSettled = fresh.allSatisfy { $0.changed < Clock.microseconds() * 1000 - 2_000_000_000 }
        var notices: [TLSNotice] = []
        var loaded: [String: TLSIdentity] = [:]
        for file in files.filter({ $0.hasSuffix(".pem") }).prefix(TLSServerSettings.namesLimit) {
            let name = String(file.dropLast(4)).lowercased()
            do {
                loaded[name] = try identity(file, among: files)
                if isExposed(file) { notices.append(.exposed(file: file)) }
            } catch {
                let reason = (error as? TLSFault)?.text ?? (error as? SystemError)?.text ?? "\(error)"
                notices.append(.refused(file: file, reason: reason))
                loaded[name] = identities[name]
            }
        }
        if loaded[TLSServerSettings.fallback] == nil {
            notices.append(.refused(file: TLSServerSettings.fallback + ".pem", reason: "there is no such file"))
            loaded[TLSServerSettings.fallback] = identities[TLSServerSettings.fallback]
        }
        identities = loaded
        if isUsable { notices.append(.replaced(loaded.count)) }
        SSL_free(next)
        next = newConnection()
        return isNew ? notices : []
    }

    private func identity(_ file: String, among files: [String]) throws -> TLSIdentity {
        let chain = try Path.contents(directory.path + "/" + file)
        let keyFile = file.dropLast(4) + ".key"
        let key = files.contains(String(keyFile)) ? try Path.contents(directory.path + "/" + keyFile) : chain
        let identity = try TLSIdentity(chain: chain, key: key, tickets: tickets)
        copenssl_set_name_callback(identity.context, { ssl, _, argument in
            guard let ssl, let argument else { return SSL_TLSEXT_ERR_NOACK }
            return Unmanaged<TLSServerSettings>.fromOpaque(argument).takeUnretainedValue().choose(ssl)
        }, Unmanaged.passUnretained(self).toOpaque())
        return identity
    }

    private func isExposed(_ file: String) -> Bool {
        let key = String(file.dropLast(4) + ".key")
        guard let status = (try? directory.status(key)) ?? (try? directory.status(file)) else { return false }
        return status.isRegular && status.mode & 0o004 != 0
    }

    /// The certificate for the name that the client asks for (RFC 6066 3). One we do not have is no reason to hang up: most clients of a mail
    /// server do not look at the name, and those who do will say what they miss.
    private func choose(_ ssl: OpaquePointer) -> Int32 {
        guard let text = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name), let identity = identities[String(cString: text).lowercased()] else { return SSL_TLSEXT_ERR_NOACK }
        SSL_set_SSL_CTX(ssl, identity.context)
        return SSL_TLSEXT_ERR_OK
    }

    func newConnection() -> OpaquePointer? { identities[TLSServerSettings.fallback].flatMap { SSL_new($0.context) } }

    /// For the one connection of this process.
    func takeConnection() throws(TLSFault) -> OpaquePointer {
        guard let ssl = next ?? newConnection() else { throw .last("TLS cannot be set up") }
        next = nil
        return ssl
    }
}
