// semail config: the control files, as a table, one at a time, and changed.
import ArgumentParser
import Control
import Unix

struct ConfigCommand: HomeCommand {
    static let configuration = CommandConfiguration(
        commandName: "config", abstract: "Shows and changes settings.",
        discussion: "Without arguments: all of them. With NAME: its value. With NAME and VALUE: sets it; - reads the value from standard input.")

    @Argument(help: "A setting; semail-control(5) explains each.")
    var name: String?
    @Argument(help: "Its new value.")
    var value: String?
    @Flag(help: "Back to the default.")
    var unset = false
    @OptionGroup var common: Common

    func validate() throws {
        if unset, name == nil { throw ValidationError("--unset needs the name of a setting") }
        if unset, value != nil { throw ValidationError("--unset and a value do not go together") }
    }

    func run() throws {
        let home = try common.openHome()
        let control = try Control(home.control)
        guard let name else { list(control, home); return }
        guard let setting = Setting.all.first(where: { $0.name == name }) else {
            throw Failure("there is no setting \(name): semail config lists them")
        }
        if unset {
            guard setting.fallback != nil else { throw Failure("\(name) has no default: give it another value") }
            try control.unset(setting)
        } else if let value {
            try control.set(setting, to: SettingRules.check(setting, try value == "-" ? input() : value, home))
        }
        if common.json { Out.document(.object(members(setting, control, home))); return }
        if unset || value != nil {
            Out.line("\(name) is \(shown(setting, control).shown)\(unset ? ", the default" : "")\(note(setting))")
        } else {
            Out.line(Out.isTerminal ? shown(setting, control).shown : try control.text(setting))
        }
    }

    private func input() throws -> String {
        let text = String(decoding: try IO.readToEnd(Descriptor.standardInput, limit: 1 << 20), as: UTF8.self)
        return text.last == "\n" ? String(text.dropLast()) : text
    }

    private func list(_ control: borrowing Control, _ home: Home) {
        if common.json {
            var settings: [JSON] = []
            for setting in Setting.all { settings.append(.object(members(setting, control, home))) }
            Out.document(.object([("settings", .list(settings))]))
            return
        }
        var rows: [[Cell]] = []
        for setting in Setting.all {
            rows.append([Cell(setting.name), shown(setting, control), Cell(setting.fallback.map { $0.isEmpty ? "-" : $0 } ?? "none"),
                         Cell("semail-control(5)"), Cell(setting.meaning)])
        }
        Table.print(["NAME", "VALUE", "DEFAULT", "DOCUMENTED IN", "MEANING"], rows)
    }

    /// One line, however many the value has.
    private func shown(_ setting: Setting, _ control: borrowing Control) -> Cell {
        do throws(ControlError) {
            let text = try control.text(setting)
            if text.isEmpty { return Cell("-") }
            let lines = text.split(whereSeparator: \.isNewline)
            if lines.count > 1 { return Cell("\(lines.count) lines", raw: lines.joined(separator: "; ")) }
            return Cell(setting.accepts(text) ? text : "\(text) (not understood)")
        } catch { return Cell("(\(error.text))") }
    }

    private func members(_ setting: Setting, _ control: borrowing Control, _ home: Home) -> [(String, JSON)] {
        let value = try? control.text(setting)
        return [
            ("name", .string(setting.name)), ("value", .text(value)), ("default", .text(setting.fallback)), ("isSet", .bool(control.isSet(setting))),
            ("isValid", .bool(value.map(setting.accepts) ?? false)), ("meaning", .string(setting.meaning)),
            ("documentation", .string("semail-control(5)")), ("file", .string(home.control + "/" + setting.name)),
        ]
    }

    /// When a change is felt.
    private func note(_ setting: Setting) -> String {
        switch SettingRules.reader(setting) {
        case .session: "; in force with the next SMTP session"
        case .qrunner: "; in force within a minute"
        case .qrunnerStart: "; in force for new mailboxes now, for qrunner when it is started again"
        case .services(let names): "; in force after: sv restart \(names)"
        }
    }
}
