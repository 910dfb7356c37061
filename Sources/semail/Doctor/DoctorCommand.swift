// semail doctor: looks at everything that can be wrong and says what to do about it. It changes nothing.
import ArgumentParser
import Control
import Provisioning
import Unix

struct DoctorCommand: HomeCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor", abstract: "Checks home, settings, mailboxes, queue, both servers, keys, directory, portal, webmail, containers, network, clock and disk.",
        discussion: "Exit code 0: all is well. 1: something is to be mended; each finding says how.")

    @Option(help: ArgumentHelp(
        "A table of paths, modes and owners (default for \(Home.installed): \(Layout.installedTable)).", valueName: "file"))
    var hier: String?
    @Option(help: ArgumentHelp(
        "The port of the inbound service (default for \(Home.installed): 25; else it is not checked).", valueName: "n"))
    var port: UInt16?
    @OptionGroup var common: Common

    func run() throws {
        let home = try common.openHome()
        let isInstalled = hier != nil || home.path == Home.installed
        var findings: [Finding] = []
        findings += check("home") { try LayoutCheck.findings(home, LayoutChoice.layout(home: home.path, table: hier)) }
        findings += check("settings") { try SettingsCheck.findings(home) }
        findings += check("mailboxes") { try MailboxCheck.findings(home) }
        findings += check("postmaster") { try PostmasterCheck.findings(home) }
        findings += check("qrunner") { try QueueCheck.runner(home, isInstalled: isInstalled) }
        findings += check("queue") { try QueueCheck.findings(home) }
        findings += check("disk") { try DiskCheck.findings(home) }
        findings += check("port") { try NetworkCheck.port(port, isInstalled: isInstalled) }
        findings += check("sending") { try DoorCheck.findings(home, isInstalled: isInstalled) }
        findings += check("tls") { try CertificateCheck.findings(home, isInstalled: isInstalled) }
        findings += check("keys") { try KeyCheck.findings(home, isInstalled: isInstalled) }
        findings += check("directory") { try DirectoryCheck.findings(home, isInstalled: isInstalled) }
        findings += check("web") { try WebCheck.findings(home, isInstalled: isInstalled) }
        findings += check("containers") { try ContainerCheck.findings(home) }
        findings += check("use") { try UseCheck.findings(home, isInstalled: isInstalled) }
        findings += check("dns") { try NetworkCheck.name(home) }
        findings += check("records") { try RecordsCheck.findings(home) }
        findings += check("clock") { try ClockCheck.findings(home) }

        let toMend = findings.count { $0.level == .mend }
        if common.json {
            Out.document(.object([("home", .string(home.path)), ("isWell", .bool(toMend == 0)), ("findings", .list(findings.map(\.json)))]))
        } else {
            findings.forEach { $0.print() }
            if Out.isTerminal { Out.line(toMend == 0 ? "all is well" : "\(Words.count(toMend, "thing is", "things are")) to be mended") }
        }
        if toMend > 0 { throw ExitCode(1) }
    }

    /// A check that cannot be made is a finding too.
    private func check(_ name: String, _ body: () throws -> [Finding.Result]) -> [Finding] {
        do { return try body().map { Finding(check: name, result: $0) } } catch {
            let text = Failure.sentence(error) ?? "\(error)"
            if (error as? SystemError)?.isNotAllowed == true { return [Finding(check: name, result: .note("not checked: \(text)", "run it as root"))] }
            return [Finding(check: name, result: .mend(text, "mend that, and run semail doctor again"))]
        }
    }
}

/// One thing that was looked at, and what to do about it.
struct Finding {
    enum Level: String { case well, note, mend }

    struct Result {
        let level: Level
        let text: String
        let remedy: String?

        static func well(_ text: String) -> Result { Result(level: .well, text: text, remedy: nil) }
        /// Worth knowing; nothing is broken.
        static func note(_ text: String, _ remedy: String) -> Result { Result(level: .note, text: text, remedy: remedy) }
        static func mend(_ text: String, _ remedy: String) -> Result { Result(level: .mend, text: text, remedy: remedy) }
    }

    let check: String
    let result: Result

    var level: Level { result.level }

    var json: JSON {
        .object([("check", .string(check)), ("level", .string(level.rawValue)), ("text", .string(result.text)), ("remedy", .text(result.remedy))])
    }

    func print() {
        guard Out.isTerminal else {
            Out.line([level.rawValue, check, result.text, result.remedy ?? ""].map(Out.clean).joined(separator: "\t"))
            return
        }
        let colour: Out.Colour = switch level {
        case .well: .green
        case .note: .yellow
        case .mend: .red
        }
        let padded = check + String(repeating: " ", count: max(0, 10 - check.count))
        Out.line("\(Out.colour(level.rawValue, colour))  \(padded)  \(Out.clean(result.text))")
        if let remedy = result.remedy { Out.line("                  \(Out.clean(remedy))") }
    }
}

extension [Finding.Result] {
    mutating func mend(_ text: String, _ remedy: String) { append(.mend(text, remedy)) }
    mutating func note(_ text: String, _ remedy: String) { append(.note(text, remedy)) }
}
