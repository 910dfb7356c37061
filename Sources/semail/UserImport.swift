// semail user import: many people at once, from CSV or LDIF. One after another, so that it can be stopped between any two and run again:
// who is there already and as the file says stays untouched.
import ArgumentParser
import Control
import Directory
import Unix

extension UserCommand {
    struct Import: HomeCommand {
        static let configuration = CommandConfiguration(
            abstract: "Adds the people in a file of CSV or LDIF, and brings those up to date who are there.",
            discussion: "Given again it adds nobody twice. Nobody is removed, and nobody's password is changed who has one.")

        @Argument(help: "The file; - is standard input. semail(8) says what may be in it.", completion: .file())
        var file: String
        @Flag(help: "Only say what would be done.")
        var dryRun = false
        @Option(help: ArgumentHelp("Make passwords for those who have none, and write them, by uid, to this file.", valueName: "file"))
        var generatePasswords: String?
        @OptionGroup var common: Common

        func run() throws {
            let home = try common.openHome()
            var people = try PeopleFile.read(file)
            people.refuseTwins()
            let store = try PeopleStore(home)
            let made = try dryRun ? nil : generatePasswords.map { try PasswordFile($0) }
            var work = Importing(isDryRun: dryRun, makesPasswords: generatePasswords != nil, seesPasswords: try store.seesPasswords())
            try work.run(people.rows, store, made)
            if common.json { Out.document(.object(members(people, work))) } else { show(people, work) }
            if work.isInterrupted { throw ExitCode(130) }
            if !work.refused.isEmpty { throw ExitCode(1) }
        }

        private func members(_ people: PeopleFile, _ work: Importing) -> [(String, JSON)] {
            let refused = work.refused.map { JSON.object([("line", .number($0.line)), ("uid", .string($0.uid)), ("text", .string($0.fault))]) }
            return [
                ("file", .string(file)), ("isDryRun", .bool(dryRun)), ("isInterrupted", .bool(work.isInterrupted)),
                ("added", .number(work.added)), ("changed", .number(work.changed)), ("unchanged", .number(work.unchanged)),
                ("passwordsMade", .number(work.passwordsMade)), ("passedOver", .list(people.passedOver.map { .string($0) })),
                ("others", .number(people.others)), ("refused", .list(refused)),
            ]
        }

        private func show(_ people: PeopleFile, _ work: Importing) {
            for row in work.refused { Out.line(Out.clean("line \(row.line): \(row.fault)")) }
            if people.isLatin { Out.line("the file is no UTF-8, and was taken for Windows-1252 (ISO 8859-1): look whether accents are right") }
            if !people.passedOver.isEmpty { Out.line(Out.clean("passed over: \(people.passedOver.joined(separator: ", "))")) }
            if people.others > 0 { Out.line("\(Words.count(people.others, "entry is", "entries are")) of no person, and passed over") }
            let verb = dryRun ? "would be " : ""
            Out.line("\(work.added) \(verb)added, \(work.changed) \(verb)changed, \(work.unchanged) as they are, \(work.refused.count) refused")
            if work.passwordsMade > 0, let generatePasswords { Out.line("\(Words.count(work.passwordsMade, "password is", "passwords are")) in \(generatePasswords)") }
            if work.isInterrupted { Out.line("interrupted: run it again to go on") }
            if dryRun { Out.line("nothing was written") }
        }
    }
}

/// The work itself, and what became of each row.
struct Importing {
    let isDryRun: Bool
    let makesPasswords: Bool
    let seesPasswords: Bool
    private(set) var added = 0, changed = 0, unchanged = 0, passwordsMade = 0
    private(set) var refused: [PeopleFile.Row] = []
    private(set) var isInterrupted = false

    init(isDryRun: Bool, makesPasswords: Bool, seesPasswords: Bool) {
        self.isDryRun = isDryRun
        self.makesPasswords = makesPasswords
        self.seesPasswords = seesPasswords
    }

    mutating func run(_ rows: [PeopleFile.Row], _ store: borrowing PeopleStore, _ made: PasswordFile?) throws {
        // Held back until a person is complete.
        let signals = try Signals([Signals.interrupt, Signals.terminate])
        var progress = Progress(total: rows.count)
        defer { progress.end() }
        for (index, row) in rows.enumerated() {
            if signals.next() != nil {
                isInterrupted = true
                return
            }
            progress.show(index)
            guard let person = row.person else { refused.append(row); continue }
            do { try take(person, store, made) } catch let error as DirectoryFault {
                guard error.isOfEntry else {
                    throw DirectoryFault(text: "line \(row.line): \(error.text); those before it are done (\(added) added, \(changed) changed): run it again to go on")
                }
                refused.append(PeopleFile.Row(line: row.line, uid: row.uid, fault: error.text))
            }
        }
    }

    private mutating func take(_ person: Person, _ store: borrowing PeopleStore, _ made: PasswordFile?) throws {
        guard let entry = try store.find(person.uid) else {
            if !isDryRun { try store.add(person) }
            if case .hashed? = person.password {} else { try setPassword(person, store, made) }
            added += 1
            return
        }
        let changes = store.changes(person, entry)
        // Whoever was added when the import was cut short has no password yet.
        let lacksPassword = seesPasswords && entry.values("userPassword").isEmpty && (person.password != nil || makesPasswords)
        if changes.isEmpty, !lacksPassword { unchanged += 1; return }
        if !isDryRun, !changes.isEmpty { try store.change(entry, changes) }
        if lacksPassword {
            if case .hashed(let hash)? = person.password {
                if !isDryRun { try store.setHash(of: entry, hash) }
            } else { try setPassword(person, store, made, of: entry) }
        }
        changed += 1
    }

    private mutating func setPassword(_ person: Person, _ store: borrowing PeopleStore, _ made: PasswordFile?, of entry: DirectoryEntry? = nil) throws {
        var text: [UInt8]?
        if case .plain(let given)? = person.password { text = given } else if makesPasswords {
            passwordsMade += 1
            if let made {
                let new = PasswordRules.made()
                // Written down first: a password that nobody knows is worse than one that is not in force.
                try made.append(person.uid, new)
                text = Array(new.utf8)
            }
        }
        guard let text, !isDryRun else { return }
        if let entry { try store.setPassword(of: entry, text) } else { try store.setPassword(of: person.uid, text) }
    }
}

/// Where passwords are written that were made: `uid TAB password`, readable by whoever runs this and nobody else.
final class PasswordFile {
    private let file: Descriptor

    init(_ path: String) throws {
        let slash = path.lastIndex(of: "/")
        let directory = try Directory(slash.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? ".")
        let name = slash.map { String(path[path.index(after: $0)...]) } ?? path
        do throws(SystemError) { file = try directory.create(name, mode: 0o600) } catch {
            throw Failure("\(path) cannot be made (\(error.text)): passwords go into a new file; name one that is not there yet")
        }
    }

    func append(_ uid: String, _ password: String) throws {
        try IO.writeAll(file.raw, Array("\(uid)\t\(password)\n".utf8))
    }
}

/// How far it is, on a terminal's standard error, ten times a second.
struct Progress {
    private let total: Int
    private var shownAt = 0
    private let isShown = IO.isTerminal(Descriptor.standardError)

    init(total: Int) { self.total = total }

    mutating func show(_ count: Int) {
        guard isShown, case let now = Clock.monotonicMilliseconds(), now - shownAt >= 100 else { return }
        shownAt = now
        try? IO.writeAll(Descriptor.standardError, Array("\r\(count) of \(total) ".utf8))
    }

    mutating func end() {
        if isShown, shownAt > 0 { try? IO.writeAll(Descriptor.standardError, Array("\r\u{1b}[K".utf8)) }
    }
}
