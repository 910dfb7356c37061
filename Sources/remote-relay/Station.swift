// What remote-relay needs from the host before it locks itself in: its name, the resolver, certificates, passwords. A template opens
// them once, and looks before each connection whether they have changed.
import Control
import DNS
import Mail
import Program
import TLS
import Unix

final class Station {
    struct Credentials {
        let user: [UInt8]
        let password: [UInt8]
    }

    let patience: Patience
    private(set) var hostname: [UInt8] = []
    private(set) var names: Names
    private let home: Home
    private let authorities: String?
    private var resolverFile: [UInt8] = []
    private var passwords: [UInt8] = []
    private var authoritiesStamp: (UInt64, Int)?
    private var anybody: Result<TLSClientSettings, TLSFault>
    private var verified: Result<TLSClientSettings, TLSFault>?

    /// Where Debian, Alpine and many others have the certificates of the authorities.
    static let authoritiesFile = "/etc/ssl/certs/ca-certificates.crt"
    private static let resolverPath = "/etc/resolv.conf"
    private static let passwordsName = "route-passwords"

    /// `verifies`: certificates may have to be checked.
    init(_ home: Home, _ environment: Environment, verifies: Bool) throws {
        self.home = home
        authorities = environment["SSL_CERT_FILE"]
        patience = Patience(atMost: environment["RELAY_TIMEOUT_SECONDS"].flatMap { Int($0) })
        TLSLibrary.start()
        names = try Names(seconds: patience.nameSeconds)
        anybody = Station.settings(.anybody)
        do { try readControl() } catch let error as ControlError { throw Fatal(error.text) }
        resolverFile = (try? Path.contents(Station.resolverPath)) ?? []
        if verifies { readAuthorities() }
    }

    /// The files as they are now. What makes no sense is logged, and what was in force stays so.
    func refresh() {
        do { try readControl() } catch { Log.error("settings", .text("reason", (error as? ControlError)?.text ?? (error as? SystemError)?.text ?? "\(error)")) }
        if let file = try? Path.contents(Station.resolverPath), file != resolverFile, let new = try? Names(seconds: patience.nameSeconds) {
            resolverFile = file
            names = new
        }
        if verified != nil, let stamp = stamp(), authoritiesStamp.map({ $0 != stamp }) ?? true { readAuthorities() }
    }

    func settings(isVerified: Bool) throws(TLSFault) -> TLSClientSettings {
        if isVerified, let verified { return try verified.get() }
        return try anybody.get()
    }

    /// The line of control/route-passwords for a destination: `HOST USER PASSWORD`.
    func credentials(for name: [UInt8]) -> Credentials? {
        for line in passwords.split(separator: 0x0a) where line.first != 0x23 {
            let words = line.split(maxSplits: 2) { $0 == 0x20 || $0 == 0x09 }
            if words.count == 3, words[0].map(\.lowercased) == name.map(\.lowercased) { return Credentials(user: Array(words[1]), password: Array(words[2])) }
        }
        return nil
    }

    private func readControl() throws {
        hostname = Array(try Control(home.control).text(.hostname).utf8)
        do throws(SystemError) { passwords = try Directory(searching: home.control).contents(Station.passwordsName) } catch { if !error.isMissing { throw error } else { passwords = [] } }
    }

    private func readAuthorities() {
        authoritiesStamp = stamp()
        let new = Station.settings(.authorities(file: authorities))
        if case .failure(let fault) = new, case .success? = verified {
            Log.error("settings", .text("reason", fault.text))
        } else {
            verified = new
        }
    }

    private static func settings(_ trust: TLSTrust) -> Result<TLSClientSettings, TLSFault> {
        do throws(TLSFault) { return .success(try TLSClientSettings(trust)) } catch { return .failure(error) }
    }

    private func stamp() -> (UInt64, Int)? {
        let path = authorities ?? Station.authoritiesFile
        guard let slash = path.lastIndex(of: "/"), let directory = try? Directory(searching: String(path[...slash])),
              let status = try? directory.status(String(path[path.index(after: slash)...])) else { return nil }
        return (status.inode, status.changedNanoseconds)
    }
}
