// What people open in a browser, and IMAP: the portal itself, and the portal and SqWebMail as Apache shows them.
import Control
import Provisioning
import Unix

enum WebCheck {
    private static let courier = "/run/courier/authdaemon/socket"

    static func findings(_ home: Home, isInstalled: Bool) throws -> [Finding.Result] {
        guard isInstalled else { return [] }
        let control = try Control(home.control)
        var found: [Finding.Result] = []
        let listen = try control.text(.portalListen)
        if try page("http://\(listen)/sign-in").status != 200 {
            found.mend("the portal does not answer at \(listen)", "see whether the service semail-portal runs and what its log says")
        }
        let webmail = try control.text(.webmailURL)
        if !webmail.isEmpty { found += try look(atWebmail: webmail) }
        if try control.text(.imap) == "yes", Door.connect(address: "127.0.0.1", port: 993, milliseconds: 5000) == nil {
            found.mend("nobody answers at port 993: no mail program reads mail", "see whether the service semail-imap runs and what its log says")
        }
        return found.isEmpty ? [.well("the portal answers at \(listen)\(webmail.isEmpty ? "" : ", and webmail at \(webmail)")")] : found
    }

    /// As a browser of this host would see it that takes the name in the address to be here.
    private static func look(atWebmail address: String) throws -> [Finding.Result] {
        guard let host = host(of: address) else { return [.mend("webmail-url: \"\(address)\" is no address at https://", "run: semail config webmail-url https://NAME/mail")] }
        let answer = try page(address, ["--insecure", "--location", "--max-redirs", "3", "--connect-to", "\(host)::127.0.0.1:"])
        if answer.status == 0 { return [.mend("nobody shows webmail at \(address): \(answer.text)", "see whether Apache runs, and what /var/log/apache2/semail-error.log says")] }
        guard answer.status == 200, answer.text.contains("name=\"username\"") else {
            return [.mend("\(address) shows no page to sign in (it answers with \(answer.status))", "see whether the service semail-webmail runs, and what its log and /var/log/apache2/semail-error.log say")]
        }
        guard !User.isRoot || (try? Socket.connect(path: courier)) != nil else {
            return [.mend("nobody answers at \(courier): nobody can sign in to webmail or IMAP", "see whether the service semail-courier-auth runs and what its log says")]
        }
        return []
    }

    private static func host(of address: String) -> Substring? {
        guard address.hasPrefix("https://") else { return nil }
        let host = address.dropFirst("https://".count).prefix { $0 != "/" && $0 != ":" }
        return host.isEmpty ? nil : host
    }

    /// Status 0: no answer, and why.
    private static func page(_ address: String, _ options: [String] = []) throws -> (status: Int, text: String) {
        let result = try Tool("curl").run(["-q", "--silent", "--show-error", "--globoff", "--noproxy", "*", "--max-time", "10", "--write-out", "\n%{http_code}"] + options + ["--", address], limitSeconds: 20)
        guard result.isDone, let end = result.output.lastIndex(of: "\n") else { return (0, result.lastWords) }
        return (Int(result.output[end...].dropFirst()) ?? 0, String(result.output[..<end]))
    }
}
