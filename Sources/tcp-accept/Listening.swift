// Opening the doors: every port on every address, or one unix socket.
import Program
import Unix

/// A listener that can be closed while its holder lives on.
final class OpenListener {
    let listener: Listener
    init(_ listener: consuming Listener) { self.listener = listener }
    var descriptor: Int32 { listener.descriptor.raw }
}

/// `hosts` and `ports` as they stand on the command line, joined by commas.
func listen(_ hosts: String, _ ports: String, _ backlog: Int, isShared: Bool) throws -> [OpenListener] {
    var listeners: [OpenListener] = []
    for host in hosts.split(separator: ",").map(String.init) {
        for port in ports.split(separator: ",").map(String.init) {
            guard let number = UInt16(port) else { throw UsageError("\(port) is no port") }
            let listener: Listener
            do throws(SystemError) { listener = try Listener(host: host, port: number, backlog: backlog, isShared: isShared) } catch {
                throw Fatal(explain(error, host, port), error.code == 22 ? .failed : .tryAgain)
            }
            Log.info("listening", .text("address", host), .text("port", "\(listener.port)"), .count("pid", Int(Process.id)))
            listeners.append(OpenListener(listener))
        }
    }
    guard !listeners.isEmpty else { throw UsageError("HOST or PORT is empty") }
    return listeners
}

/// `access`: `MODE:GROUP`, who may connect.
func listenLocally(_ path: String, _ access: String?, _ backlog: Int) throws -> OpenListener {
    let listener = try Listener(path: path, backlog: backlog)
    if let access {
        let parts = access.split(separator: ":").map(String.init)
        guard 2...3 ~= parts.count, let mode = UInt32(parts[0], radix: 8), mode <= 0o777 else { throw UsageError("\(access) is no MODE:GROUP such as 0660:semail-smtpd, and no MODE:GROUP:OWNER") }
        guard let group = UInt32(parts[1]) ?? User.group(parts[1]) else { throw Fatal("there is no group \(parts[1])", .failed) }
        var owner = User.current.uid
        if parts.count == 3 { owner = try Program.user(parts[2]).uid }
        try Path.setOwner(path, uid: owner, gid: group)
        try Path.setMode(path, mode)
    }
    Log.info("listening", .text("address", "unix"), .text("port", path), .count("pid", Int(Process.id)))
    return OpenListener(listener)
}

private func explain(_ error: SystemError, _ host: String, _ port: String) -> String {
    if error.isInUse { return "port \(port) of \(host) is in use by another program: end it, or choose another port" }
    if error.isDenied { return "port \(port) can be bound by root only: start as root with -u, or choose a port above 1023" }
    if error.code == 22 { return "\(host) is no address: give an IPv4 or IPv6 address, or 0 for all" }
    return error.text
}
