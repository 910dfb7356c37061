// Control files as they stand on disk.
import Control
import Testing
import Unix

@Suite struct ControlFileTests {
    @Test(arguments: [("5\n", 5), ("5", 5), ("5\n\n", 5), ("5 \n", 5), ("5\r\n", 5), ("5\n6\n", 5)]) func aValueIsTheFirstLine(text: String, value: Int) throws {
        let home = try ControlHome(["control/hops": text]), control = try home.control()
        #expect(try control.number(.hops) == value)
    }

    @Test func withoutAFileTheDefaultHolds() throws {
        let home = try ControlHome([:]), control = try home.control()
        #expect(try control.number(.hops) == 100)
        #expect(try control.number(.messageSize) == 50 << 20)
        #expect(try control.range(.mailboxUids) == 30000...59999)
        #expect(try control.lines(.aliases) == [])
        #expect(control.isSet(.hops) == false)
    }

    @Test func theHostnameMustBeThere() throws {
        let home = try ControlHome([:]), control = try home.control()
        do { _ = try control.text(.hostname); Issue.record("no error") } catch { #expect(error.text.contains("control/hostname")) }
    }

    @Test(arguments: ["", "\n", "x\n", "-1\n", "\n5\n"]) func whatIsNoValueIsSaid(text: String) throws {
        let home = try ControlHome(["control/hops": text]), control = try home.control()
        do { _ = try control.number(.hops); Issue.record("no error") } catch { #expect(error.text.contains("control/hops")) }
    }

    @Test func aFileThatCannotBeReadIsNoDefault() throws {
        let home = try ControlHome([:]), control = try home.control()
        try Path.makeDirectory(home.path + "/control/hops", mode: 0o700)
        #expect(throws: ControlError.self) { try control.number(.hops) }
    }

    @Test(arguments: [("yes\n", true), ("no\n", false), ("yes", true), ("no \n", false), ("yes\r\n", true), ("yes\nno\n", true)]) func choices(text: String, isOn: Bool) throws {
        let home = try ControlHome(["control/auth-without-tls": text]), control = try home.control()
        #expect(try control.isOn(.authWithoutTLS) == isOn)
    }

    /// Neither yes nor no is not taken for either.
    @Test(arguments: ["", "\n", "Yes\n", "1\n", "true\n", "yes!\n"]) func choicesThatAreNone(text: String) throws {
        let home = try ControlHome(["control/auth-without-tls": text]), control = try home.control()
        do { _ = try control.isOn(.authWithoutTLS); Issue.record("no error") } catch { #expect(error.text.contains("control/auth-without-tls")) }
    }

    @Test func withoutAFilePasswordsStayEncrypted() throws {
        let home = try ControlHome([:]), control = try home.control()
        #expect(try control.isOn(.authWithoutTLS) == false)
    }

    @Test func linesAndComments() throws {
        let home = try ControlHome(["control/aliases": "# who\na@b c@d\n\ne@f g@h\n"]), control = try home.control()
        #expect(try control.lines(.aliases) == ["a@b c@d", "e@f g@h"])
    }

    @Test func setAndUnset() throws {
        let home = try ControlHome([:]), control = try home.control()
        try control.set(.hops, to: "7")
        #expect(control.isSet(.hops) == true)
        #expect(try control.number(.hops) == 7)
        #expect(try Path.contents(home.path + "/control/hops") == Array("7\n".utf8))
        // Who may know it stays who may know it.
        try Path.setMode(home.path + "/control/hops", 0o600)
        try control.set(.hops, to: "8")
        #expect(try Directory(home.path + "/control").status("hops").mode == 0o600)
        try control.unset(.hops)
        try control.unset(.hops)
        #expect(try control.number(.hops) == 100)
        #expect(try Directory(home.path + "/control").names() == [])
    }

    /// A change is noticed without reading: a new file, other content, or none.
    @Test func stampsTellChanges() throws {
        let home = try ControlHome([:]), control = try home.control()
        let none = control.stamp(.hops)
        #expect(none == nil)
        try control.set(.hops, to: "7")
        let first = control.stamp(.hops)
        #expect(first != nil)
        #expect(control.stamp(.hops) == first)
        try control.set(.hops, to: "8")
        #expect(control.stamp(.hops) != first)
        try control.unset(.hops)
        #expect(control.stamp(.hops) == nil)
    }
}
