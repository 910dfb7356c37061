// The arrows of Package.swift.
import Foundation
import Testing

@Suite struct PackageTests {
    @Test func everyDirectoryIsOneTarget() throws {
        let names = try SourceTree.targets().map(\.name)
        #expect(Set(names).count == names.count)
        #expect(Set(names) == (try SourceTree.modules()))
    }

    @Test func noArrowPointsUpOrSideways() throws {
        let modules = try SourceTree.modules()
        for target in try SourceTree.targets() {
            for used in target.uses where !Arrows.allows(target.name, used, among: modules) { Issue.record("Package.swift has \(target.name) use \(used): the design has no such arrow") }
        }
    }

    /// Programs of the mail path are declared by `program`, which makes them static; the others are not.
    @Test func mailPathProgramsAreStatic() throws {
        for target in try SourceTree.targets() {
            if case .mailPathProgram = Layer(target.name) { #expect(target.isMailPath, "\(target.name)") } else { #expect(!target.isMailPath, "\(target.name)") }
        }
        let text = try SourceTree.packageText()
        #expect(text.contains(/func program\([^{]*\{\s*\.executableTarget\([^}]*-static-executable/))
    }

    @Test func swift6IsTheLanguage() throws {
        let text = try SourceTree.packageText()
        #expect(text.contains(".swiftLanguageMode(.v6)"))
        #expect(!text.contains("-strict-concurrency=minimal") && !text.contains(".v5"))
    }
}
