// The outgoing server of an installation: its doors, its certificate, its keys, and who may use it.
import Control
import Provisioning
import TLS
import Unix

enum DoorCheck {
    static func findings(_ home: Home, isInstalled: Bool) throws -> [Finding.Result] {
        guard isInstalled else { return [] }
        var found: [Finding.Result] = []
        look("port 587 of 127.0.0.1", "semail-outbound", Door.firstLine(address: "127.0.0.1", port: 587, milliseconds: 5000), &found)
        let socket = home.run + "/submission"
        look("\(socket), to which sendmail speaks,", "semail-outbound-local", Door.firstLine(path: socket, milliseconds: 5000), &found)
        if !Path.exists(home.authentication) {
            found.mend("\(home.authentication) is not there: no password can be checked", "see whether the service semail-auth runs and what its log says")
        }
        if !Path.exists(home.run + "/export") {
            found.mend("\(home.run)/export is not there: nobody can take a mailbox away at the portal", "see whether the service semail-export runs and what its log says")
        }
        return found.isEmpty ? [.well("the outgoing server answers at port 587, and to sendmail")] : found
    }

    private static func look(_ place: String, _ service: String, _ line: String?, _ found: inout [Finding.Result]) {
        let remedy = "see whether the service \(service) runs and what its log says"
        switch line {
        case nil: found.mend("nobody answers at \(place): no mail goes out", remedy)
        case "": found.mend("\(place) is open, and nobody speaks there", remedy)
        case let line? where line.hasPrefix("421"): found.note("\(place) turns us away: \(line)", "it may be busy; see sessions in semail-control(5)")
        case let line? where !line.hasPrefix("220 ") || !line.hasSuffix("SEMail"):
            found.mend("another server answers at \(place): \(line)", "end it, and start the service \(service)")
        default: break
        }
    }
}

enum CertificateCheck {
    /// What a client sees at port 465 who wants to know that it speaks with this host.
    static func findings(_ home: Home, isInstalled: Bool) throws -> [Finding.Result] {
        guard isInstalled else { return [] }
        let hostname = try Control(home.control).text(.hostname)
        TLSLibrary.start()
        let remedy = "see whether the service semail-outbound-tls runs and what its log says"
        let files = "a certificate for \(hostname) and its key, in one file: \(home.control)/tls/default.pem, of the user semail-tls, mode 0400"
        guard let connection = Door.connect(address: "127.0.0.1", port: 465, milliseconds: 5000) else {
            return [.mend("nobody answers at port 465: nobody can send mail with a password", remedy)]
        }
        do throws(TLSFault) {
            let tls = try TLSConnection.connect(
                TLSClientSettings(.authorities(file: nil)), descriptor: connection.descriptor.raw, serverName: Array(hostname.utf8), milliseconds: 10_000)
            tls.close()
            return [.well("the certificate for \(hostname) at port 465 is good: \(String(decoding: tls.summary, as: UTF8.self))")]
        } catch {
            // Who signed it themselves knows that; what has ended, or is another host's, surprises.
            if error.text.hasSuffix("self-signed certificate") { return [.note("the certificate at port 465 is signed by nobody: clients warn, or refuse", "put there \(files)")] }
            return [.mend("clients do not get through at port 465: \(error.text)", "put there \(files); or \(remedy)")]
        }
    }
}

enum KeyCheck {
    /// Files of control that one program alone may read; nothing else of an installation is a secret.
    static let secrets: [(name: String, user: String)] = [("route-passwords", "semail-remote"), ("ldap-bind-password", "semail-auth"), ("ldap-manager-password", "root"), ("dns-key", "root")]

    static func findings(_ home: Home, isInstalled: Bool) throws -> [Finding.Result] {
        var found: [Finding.Result] = []
        for (name, user) in secrets { try look("\(home.control)/\(name)", isInstalled ? user : nil, &found) }
        for path in try privateKeys(home) { try look(path.file, isInstalled ? path.user : nil, &found) }
        guard isInstalled else { return found }
        for domain in try MailboxRegister(home).markers().sorted() where try !isSigned(domain, home) {
            found.note("mail from \(domain) is not signed: others may take it for forged", "run: semail dkim create \(domain), and publish what semail dkim show \(domain) prints")
        }
        return found.isEmpty ? [.well("keys and passwords can be read by their own users alone; mail from every domain is signed")] : found
    }

    private static func look(_ path: String, _ user: String?, _ found: inout [Finding.Result]) throws {
        guard let entry = try Entry(path), entry.kind == .file else { return }
        if entry.mode & 0o077 != 0 { found.mend("\(path) is a secret and has the mode \(String(entry.mode, radix: 8))", "run: chmod 400 \(path)") }
        if let user, let uid = User(user)?.uid, entry.uid != uid {
            found.mend("\(path) belongs to \(entry.uid) and should to \(user), who reads it", "run: chown \(user): \(path)")
        }
    }

    private static func privateKeys(_ home: Home) throws -> [(file: String, user: String)] {
        let tls = home.control + "/tls"
        let certificates = try names(tls)
        // With a key in a file of its own, the other file holds what everybody is shown.
        var files = certificates.filter { $0.hasSuffix(".key") || $0.hasSuffix(".pem") && !certificates.contains($0.dropLast(4) + ".key") }
            .map { (file: "\(tls)/\($0)", user: "semail-tls") }
        for domain in try names(home.keys) {
            let directory = "\(home.keys)/\(domain)"
            files += try names(directory).filter { $0.hasSuffix(".pem") }.map { ("\(directory)/\($0)", "semail-dkim") }
        }
        return files
    }

    private static func isSigned(_ domain: String, _ home: Home) throws -> Bool { try names("\(home.keys)/\(domain)").contains { $0.hasSuffix(".pem") } }

    /// Nothing if there is no such directory.
    private static func names(_ path: String) throws -> [String] {
        guard let entry = try Entry(path), entry.kind == .directory else { return [] }
        return try Directory(path).names()
    }
}

enum UseCheck {
    private static let sendmail = "/usr/sbin/sendmail"

    static func findings(_ home: Home, isInstalled: Bool) throws -> [Finding.Result] {
        let control = try Control(home.control)
        var found: [Finding.Result] = []
        let needy = try control.lines(.routes).filter { $0.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst(2).contains("auth") }
        if let line = needy.first, !Path.exists(home.control + "/route-passwords") {
            found.mend(
                "the route \"\(line)\" wants a password, and there is no \(home.control)/route-passwords",
                "write it: HOST USER PASSWORD, a line for each host; mode 0400, of the user semail-remote")
        }
        guard isInstalled else { return found }
        let ours = "/usr/local/libexec/semail/sendmail"
        if case .link(ours)? = try Entry(sendmail)?.kind {} else {
            found.note("\(sendmail) is not ours: mail that programs of this host send goes another way", "remove what is there, and run install.sh again")
        }
        return found.isEmpty ? [.well("programs of this host send by SEMail")] : found
    }
}
