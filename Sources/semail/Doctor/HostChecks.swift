// The host around the home: disk, port, DNS, clock.
import Control
import Mail
import Provisioning
import Unix

enum DiskCheck {
    static func findings(_ home: Home) throws -> [Finding.Result] {
        let control = try Control(home.control)
        // The queue must take the largest message, with something to spare.
        let largest = UInt64((try? control.number(.messageSize)) ?? 50 << 20)
        var found = try look("the queue", home.queue, needs: 2 * largest)
        var seen: Set<UInt64> = [try DeviceNumber.of(home.queue)]
        for entry in try MailboxRegister(home).entries() {
            guard let mailbox = entry.mailbox, Path.exists(mailbox.volume) else { continue }
            // Mailboxes that share a file system are one line.
            guard seen.insert(try DeviceNumber.of(mailbox.volume)).inserted else { continue }
            found += try look("the volume of \(entry.address.text)", mailbox.volume, needs: 1 << 20)
        }
        return found
    }

    private static func look(_ what: String, _ path: String, needs: UInt64) throws -> [Finding.Result] {
        let space = try Space(of: path)
        let free = "\(Words.size(space.freeOctets)) of \(Words.size(space.totalOctets)) free"
        if space.isReadOnly {
            return [.mend(
                "\(what) (\(path)) is on a file system mounted read-only: nothing is accepted or delivered",
                "see what the kernel says (dmesg), repair it, mount it for writing")]
        }
        if space.freeOctets < needs { return [.mend("\(what) (\(path)) is nearly full: \(free)", "make room, or enlarge it")] }
        if space.freeInodes < 1000 {
            return [.mend("\(what) (\(path)) has \(space.freeInodes) inodes left", "remove files, or make a file system with more inodes")]
        }
        if space.freeOctets < space.totalOctets / 10 { return [.note("\(what) (\(path)): \(free)", "make room before it is full")] }
        return [.well("\(what): \(free)")]
    }
}

enum NetworkCheck {
    /// Port 25 of 127.0.0.1 is the outgoing server's, of any other address the incoming one's.
    static func port(_ named: UInt16?, isInstalled: Bool) throws -> [Finding.Result] {
        guard let port = named ?? (isInstalled ? 25 : nil) else { return [.note("the port was not checked", "name it: semail doctor --port N")] }
        let address = named == nil ? "127.0.0.2" : "127.0.0.1"
        let remedy = "see whether the service semail-inbound runs and what its log says"
        guard let line = Door.firstLine(address: address, port: port, milliseconds: 5000) else {
            return [.mend("nobody answers at port \(port) of \(address): no mail comes in", remedy)]
        }
        if line.isEmpty { return [.mend("port \(port) is open, and nobody speaks there", remedy)] }
        if line.hasPrefix("421") {
            return [.note("port \(port) turns us away: \(line)", "it may be busy; see sessions and sessions-per-address in semail-control(5)")]
        }
        guard line.hasPrefix("220 "), line.hasSuffix("SEMail") else {
            return [.mend("another server answers at port \(port): \(line)", "end it, and start the service semail-inbound")]
        }
        return [.well("port \(port) says \(line)")]
    }

    /// Names that are never in the world's DNS (RFC 6761, RFC 6762).
    private static let local = [".test", ".example", ".invalid", ".localhost", ".local"]

    static func name(_ home: Home) throws -> [Finding.Result] {
        let hostname = try Control(home.control).text(.hostname)
        if local.contains(where: { ("." + hostname).hasSuffix($0) }) || !hostname.contains(".") {
            return [.note(
                "\(hostname) is a name that other hosts cannot look up",
                "for mail from the Internet: semail config hostname NAME, with a name that DNS has")]
        }
        let addresses = Lookup.addresses(of: hostname)
        guard !addresses.isEmpty else {
            return [.mend(
                "DNS has no address for \(hostname)",
                "add an A or AAAA record for it where its zone is kept, or see whether this host's resolver works")]
        }
        let list = addresses.joined(separator: " ")
        if addresses.allSatisfy({ $0.hasPrefix("127.") || $0 == "::1" }) {
            return [.note(
                "\(hostname) is \(list) as this host sees it; others may see something else",
                "look from another host, and add A or AAAA records if they are missing")]
        }
        let own = Lookup.ownAddresses()
        guard addresses.contains(where: own.contains) else {
            return [.note("\(hostname) is \(list), which is no address of this host", "well if a router passes port 25 on; else correct the record")]
        }
        let unnamed = addresses.filter { own.contains($0) && Lookup.name(of: $0) == nil }
        guard unnamed.isEmpty else {
            return [.note(
                "\(hostname) is \(list), and reverse DNS has no name for \(unnamed.joined(separator: " ")): many servers refuse mail from there",
                "have whoever gave you the address add a PTR record: \(hostname)")]
        }
        return [.well("\(hostname) is \(list)")]
    }
}

enum ClockCheck {
    /// This program was made later than that.
    private static let earliest = 1_767_225_600  // 2026-01-01

    static func findings(_ home: Home) throws -> [Finding.Result] {
        let now = Clock.seconds()
        let remedy = "set it, and keep it right: apt install chrony, or systemd-timesyncd"
        if now < earliest { return [.mend("the clock says \(Words.time(now)), which has long passed: mail would bounce or wait for years", remedy)] }
        var newest = 0
        for path in [home.control, home.mailboxes, home.queue + "/new"] {
            newest = max(newest, try IO.status(ofDirectory: path).modified)
        }
        if newest > now + 3600 { return [.mend("the clock says \(Words.time(now)), but the home was changed at \(Words.time(newest))", remedy)] }
        return [.well("it is \(Words.time(now))")]
    }
}
