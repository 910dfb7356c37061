// The certificates and the keys of tickets, and what the log should say of them.
import Program
import TLS
import Unix

final class Station {
    let settings: TLSServerSettings

    init(keys: String, tickets: String) throws {
        // By hand, in a home of one's own: where it cannot be made, sessions are not resumed, and the log says so.
        try? Path.makeDirectory(tickets, mode: 0o700)
        do throws(TLSFault) { settings = try TLSServerSettings(certificates: keys, tickets: tickets) } catch { throw Fatal(error.text) }
        refresh()
        guard settings.isUsable else { throw Fatal("there is no certificate: \(keys)/\(TLSServerSettings.fallback).pem should have one, with its key") }
    }

    func refresh() {
        for notice in settings.refresh() {
            switch notice {
            case .replaced(let count): Log.info("certificates", .count("count", count))
            case .refused(let file, let reason): Log.error("certificate", .text("file", file), .text("reason", reason))
            case .exposed(let file): Log.warning("exposed", .text("file", file), .text("reason", "everybody may read this key: chmod 0400"))
            case .ticketsNotKept(let reason): Log.warning("tickets", .text("reason", reason))
            }
        }
    }
}
