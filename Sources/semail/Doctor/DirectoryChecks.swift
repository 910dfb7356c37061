// The directory of users: whether passwords can be asked of it, how they travel and lie there, and who administers.
import Control
import Directory
import Unix

enum DirectoryCheck {
    static func findings(_ home: Home, isInstalled: Bool) throws -> [Finding.Result] {
        let control = try Control(home.control)
        let base = try control.text(.ldapBase)
        if base.isEmpty {
            return isInstalled ? [.note("no directory of users is named: nobody can sign in, or send with a password", "semail config ldap-base DN, and the settings near it in semail-control(5)")] : []
        }
        let searcher = try control.text(.ldapBindDN)
        var password: [UInt8] = []
        if !searcher.isEmpty { password = Array(try Path.contents(home.control + "/ldap-bind-password", limit: 1024).prefix { $0 != 0x0a && $0 != 0 }) }
        let settings = try PeopleStore.settings(control, searcher: searcher, searcherPassword: password)
        var found: [Finding.Result] = []
        let working = look(settings, &found)
        for server in settings.servers where crossesInTheClear(server, settings) {
            found.mend("passwords cross the network to \(server) in the clear", "run: semail config ldap-tls starttls, or name it by ldaps:// in ldap-uri")
        }
        if working > 0 { entries(home, settings, &found) }
        return found.isEmpty ? [.well("passwords are asked of \(settings.servers.joined(separator: " and ")), under \(base)")] : found
    }

    /// How many servers would answer.
    private static func look(_ settings: DirectorySettings, _ found: inout [Finding.Result]) -> Int {
        var faults: [String] = []
        for server in settings.servers {
            let started = Clock.monotonicMilliseconds()
            do throws(DirectoryFault) { try UserDirectory(settings).look(at: server) } catch {
                faults.append(error.text)
                continue
            }
            let took = Clock.monotonicMilliseconds() - started
            if took > 1000 { found.note("\(server) takes \(took) ms to find somebody", "see whether it has an index of the attributes in ldap-filter") }
        }
        let working = settings.servers.count - faults.count
        let remedy = "start it, or mend ldap-uri, ldap-base or ldap-bind-dn (semail-control(5)); on this host: sv status semail-directory"
        for fault in faults {
            // With another that answers, all goes on.
            if working == 0 { found.mend("no password can be checked: \(fault)", remedy) } else { found.note("one server of the directory does not answer: \(fault)", remedy) }
        }
        return working
    }

    private static func crossesInTheClear(_ server: String, _ settings: DirectorySettings) -> Bool {
        guard server.hasPrefix("ldap://"), !settings.startsTLS else { return false }
        let host = server.dropFirst("ldap://".count)
        return !["127.", "[::1]", "localhost"].contains { host.hasPrefix($0) }
    }

    /// What only a manager sees. Not to be one is no fault.
    private static func entries(_ home: Home, _ settings: DirectorySettings, _ found: inout [Finding.Result]) {
        guard let store = try? PeopleStore(home) else { return }
        if let count = try? store.unhashed(), count > 0 {
            found.mend("\(Words.count(count, "person has a password", "people have passwords")) in the directory that anybody can read who gets hold of it", "set new ones, with semail user passwd UID: they are hashed")
        }
        if settings.adminGroup.isEmpty { return }
        if let admins = try? store.admins(), admins.isEmpty {
            found.note("nobody administers the portal: \(settings.adminGroup) has no members", "run: semail user admin UID")
        }
    }
}
