// The frame of every program of the mail path: how it is called, what it answers to --help and --version,
// and with which code it ends.
import Unix

/// The one version of everything.
public let version = "0.1.0"

/// How a program of the mail path ends. No other code is ever used on purpose; a caller takes any other,
/// a signal too, for `tryAgain`.
public enum Ending: Int32, Sendable {
    case done = 0
    case failed = 100
    case tryAgain = 111
}

/// A call that cannot be taken: said with the usage line, exit 100.
public struct UsageError: Error {
    public let text: String
    public init(_ text: String) { self.text = text }
}

/// A condition that ends the program, in words that say what to do.
public struct Fatal: Error {
    public let text: String
    public let ending: Ending
    public init(_ text: String, _ ending: Ending = .tryAgain) {
        self.text = text
        self.ending = ending
    }
}

public enum Program {
    /// Runs a program's body and ends the process. `usage` is its help: the first line alone is shown with a usage error.
    public static func run(_ usage: String, _ body: (Options, Environment) throws -> Ending) -> Never {
        var arguments = CommandLine.arguments
        if !arguments.isEmpty { arguments.removeFirst() }
        switch arguments.first {
        case "--help": finish(usage)
        case "--version": finish("\(Log.program) (SEMail) \(version)\n")
        default: break
        }
        // A peer that goes away is an error of write, never a signal.
        Signals.ignoreBrokenPipes()
        do {
            let ending = try body(Options(arguments), Environment.inherited())
            Process.exit(ending.rawValue)
        } catch let error as UsageError {
            let line = usage.prefix { $0 != "\n" }
            try? IO.writeAll(2, Array("\(Log.program): \(error.text)\n\(line)\n".utf8))
            Process.exit(Ending.failed.rawValue)
        } catch let error as Fatal {
            Log.fatal(error.text)
            Process.exit(error.ending.rawValue)
        } catch let error as SystemError {
            Log.fatal(error.text)
            Process.exit(Ending.tryAgain.rawValue)
        } catch {
            Log.fatal("\(error)")
            Process.exit(Ending.tryAgain.rawValue)
        }
    }

    private static func finish(_ text: String) -> Never {
        try? IO.writeAll(1, Array(text.utf8))
        Process.exit(Ending.done.rawValue)
    }

    /// The user named by `-u`, or a clear sentence.
    public static func user(_ name: String) throws -> User {
        guard let user = User(name) else { throw Fatal("there is no user \(name): install.sh makes it, or name another with -u", .failed) }
        return user
    }
}

/// Options as everybody knows them: single letters, with or without a value, before the first argument.
public struct Options {
    private var rest: ArraySlice<String>
    private var values: [(Character, String)] = []

    init(_ arguments: [String]) { rest = arguments[...] }

    /// Takes the options off the front. `letters` as for getopt: `u:t` has -u VALUE and -t.
    public mutating func parse(_ letters: String) throws {
        let takesValue = { (letter: Character) -> Bool? in
            guard letter != ":", let place = letters.firstIndex(of: letter) else { return nil }
            let next = letters.index(after: place)
            return next < letters.endIndex && letters[next] == ":"
        }
        while let word = rest.first, word.count > 1, word.hasPrefix("-") {
            rest.removeFirst()
            if word == "--" { return }
            var letters = word.dropFirst()
            while let letter = letters.popFirst() {
                guard let valued = takesValue(letter) else { throw UsageError("unknown option -\(letter)") }
                if !valued { values.append((letter, "")); continue }
                if !letters.isEmpty { values.append((letter, String(letters))) }
                else if let value = rest.popFirst() { values.append((letter, value)) }
                else { throw UsageError("option -\(letter) needs a value") }
                break
            }
        }
    }

    public func has(_ letter: Character) -> Bool { values.contains { $0.0 == letter } }

    public func value(_ letter: Character) -> String? { values.last { $0.0 == letter }?.1 }

    public func number(_ letter: Character, default value: Int) throws -> Int {
        guard let text = self.value(letter) else { return value }
        guard let number = Int(text), number >= 0 else { throw UsageError("option -\(letter) needs a number, not \"\(text)\"") }
        return number
    }

    /// A long option such as `--once`, for those programs that have one.
    public mutating func takeWord(_ word: String) -> Bool {
        guard let place = rest.firstIndex(of: word) else { return false }
        rest.remove(at: place)
        rest = Array(rest)[...]
        return true
    }

    /// The next argument.
    public mutating func next(_ what: String) throws -> String {
        guard let word = rest.popFirst() else { throw UsageError("\(what) is missing") }
        return word
    }

    /// All that is left: a program to start and its arguments.
    public var remaining: [String] { Array(rest) }

    public func end() throws {
        if let word = rest.first { throw UsageError("one argument too many: \(word)") }
    }
}
