import Testing

@testable import Control

@Suite struct PasswordCheckTests {
    @Test func understandsEveryAnswer() {
        #expect(PasswordCheck.verdict("ok ssow") == .right(owner: "ssow", isAdministrator: false))
        #expect(PasswordCheck.verdict("ok ssow\tadmin") == .right(owner: "ssow", isAdministrator: true))
        #expect(PasswordCheck.verdict("ok admin") == .right(owner: "admin", isAdministrator: false))
        #expect(PasswordCheck.verdict("no") == .wrong && PasswordCheck.verdict("slow 90") == .slowedDown(seconds: 90))
        #expect(PasswordCheck.verdict("later the directory is away") == .unavailable("the directory is away"))
    }

    @Test(arguments: ["", "ok ", "ok", "ok \tadmin", "later", "nonsense", "no no"]) func letsNobodyInByAnythingElse(_ line: String) {
        guard case .unavailable = PasswordCheck.verdict(line) else { Issue.record("\(line)"); return }
    }
}
