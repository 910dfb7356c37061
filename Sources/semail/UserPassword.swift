// Passwords on their way from an admin to the directory: typed, read from a file, or made. Never an argument, which every process of the
// host may see, and never in a log.
import ArgumentParser
import Glibc
import Unix

struct PasswordOptions: ParsableArguments {
    @Option(name: .customLong("password-file"), help: ArgumentHelp("The password is the first line of this file (- for standard input).", valueName: "file"))
    var file: String?
    @Flag(help: "Make a password, and print it.")
    var generate = false

    func validate() throws {
        if file != nil, generate { throw ValidationError("--password-file and --generate do not go together") }
    }

    struct Read {
        let text: [UInt8]
        /// Of one that was made: nobody knows it yet.
        let shown: String?
    }

    /// nil: none is given.
    func read(of uid: String, asks: Bool) throws -> Read? {
        if generate {
            let made = PasswordRules.made()
            return Read(text: Array(made.utf8), shown: made)
        }
        if let file {
            let bytes = try IO.contents(named: file, limit: 65536)
            let line = Array(bytes.prefix { $0 != 0x0a && $0 != 0x0d })
            if let fault = PasswordRules.fault(line) { throw Failure("\(file == "-" ? "standard input" : file): \(fault)") }
            return Read(text: line, shown: nil)
        }
        return try asks ? Read(text: Asking.newPassword(of: uid), shown: nil) : nil
    }
}

enum PasswordRules {
    /// checkpassword programs take name and password in 512 octets.
    static let most = 256

    /// nil: it can be a password.
    static func fault(_ password: [UInt8]) -> String? {
        if password.isEmpty { return "an empty password is none" }
        if password.count > most { return "a password has \(most) octets at most" }
        if password.contains(where: { $0 < 0x20 || $0 == 0x7f }) { return "a password has no control characters" }
        return String(validating: password, as: UTF8.self) == nil ? "a password is UTF-8" : nil
    }

    /// 79 bits that can be read aloud: no signs that look alike.
    static func made() -> String {
        let signs = Array("abcdefghijkmnpqrstuvwxyz23456789")
        return (0..<4).map { _ in String((0..<4).map { _ in signs[Random.below(signs.count)] }) }.joined(separator: "-")
    }
}

/// Questions at a terminal, on standard error: standard output may go to a file.
enum Asking {
    static func line(_ question: String, suggested: String? = nil) throws -> String {
        say(question + (suggested.map { " [\($0)]" } ?? "") + ": ")
        guard let answer = readLine() else { throw Failure("nothing was added") }
        let text = answer.trimmed
        return text.isEmpty ? suggested ?? "" : text
    }

    static func newPassword(of uid: String) throws -> [UInt8] {
        for _ in 0..<3 {
            let first = try hidden("Password for \(uid): ")
            if let fault = PasswordRules.fault(first) { say(fault + "\n"); continue }
            if try hidden("Again: ") == first { return first }
            say("they differ\n")
        }
        throw Failure("no password was set")
    }

    private static func hidden(_ question: String) throws -> [UInt8] {
        var before = termios()
        guard tcgetattr(Descriptor.standardInput, &before) == 0 else { throw Failure("this terminal cannot hide what is typed: use --password-file") }
        var silent = before
        silent.c_lflag &= ~tcflag_t(ECHO)
        // Ctrl-C must not leave a terminal that shows nothing: it counts as a line here.
        silent.c_lflag &= ~tcflag_t(ISIG)
        tcsetattr(Descriptor.standardInput, TCSAFLUSH, &silent)
        defer {
            tcsetattr(Descriptor.standardInput, TCSAFLUSH, &before)
            say("\n")
        }
        say(question)
        var line: [UInt8] = []
        while line.last != 0x0a, line.count < 1024 {
            let more = try IO.readSome(Descriptor.standardInput, limit: 1)
            if more.isEmpty || more == [3] { throw Failure("no password was set") }
            line += more
        }
        if line.last == 0x0a { line.removeLast() }
        return line
    }

    private static func say(_ text: String) { try? IO.writeAll(Descriptor.standardError, Array(text.utf8)) }
}
