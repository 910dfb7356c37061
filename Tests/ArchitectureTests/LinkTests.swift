// What every built executable is linked with. The release build must be there; where it is missing, this fails and says what to do.
import Foundation
import Testing

@Suite struct LinkTests {
    private static var directory: URL {
        ProcessInfo.processInfo.environment["SEMAIL_BIN"].map { URL(fileURLWithPath: $0, relativeTo: SourceTree.root) } ?? SourceTree.root.appendingPathComponent(".build/release")
    }

    private static let names: [String] = ((try? SourceTree.modules()) ?? []).filter { $0.first?.isLowercase == true }.sorted()

    struct Missing: Error, CustomStringConvertible { let description: String }

    private func open(_ name: String) throws -> ExecutableFile {
        let url = Self.directory.appendingPathComponent(name)
        guard FileManager.default.fileExists(atPath: url.path) else { throw Missing(description: "\(url.path) is not there: run `swift build -c release` first, then the tests") }
        return try ExecutableFile(url)
    }

    @Test func thereAreProgramsToLookAt() { #expect(Self.names.count >= 5) }

    /// A process per connection is only cheap when exec is: no dynamic linker, no library.
    @Test(arguments: names.filter { !Layer.officePrograms.contains($0) }) func mailPathProgramsAreStatic(name: String) throws {
        let file = try open(name)
        #expect(file.interpreter == nil)
        #expect(file.libraries == [])
    }

    /// Nothing of threads, of Foundation or of others' libraries came along.
    @Test(arguments: names.filter { !Layer.officePrograms.contains($0) }) func mailPathProgramsCarryNothingElse(name: String) throws {
        let file = try open(name)
        #expect(file.symbols != nil, "\(name) is stripped: its symbols cannot be looked at")
        for prefix in ["$s10Foundation", "$s20FoundationEssentials", "dispatch_async", "_dispatch_", "swift_task_create", "ldap_", "$s14ArgumentParser"] { #expect(!file.hasSymbol(startingWith: prefix), "\(prefix)") }
        if !(try uses(name, "TLS")) { #expect(!file.hasSymbol(startingWith: "SSL_")) }
    }

    /// glibc for its name service, and what the compilers' runtimes need; never a library of Swift, OpenSSL or LDAP by accident.
    @Test(arguments: names.filter { Layer.officePrograms.contains($0) }) func officeProgramsNeedOnlyTheSystem(name: String) throws {
        let file = try open(name)
        for library in file.libraries {
            let isSystem = ["libc.so", "libm.so", "libgcc_s.so", "libstdc++.so", "ld-linux", "libpthread.so", "libdl.so", "librt.so", "libresolv.so"].contains { library.hasPrefix($0) }
            let isLDAP = library.hasPrefix("libldap") || library.hasPrefix("liblber")
            let isTLS = library.hasPrefix("libssl") || library.hasPrefix("libcrypto")
            #expect(try isSystem || isLDAP && uses(name, "Directory") || isTLS && uses(name, "TLS"), "\(library)")
        }
    }

    private func uses(_ program: String, _ room: String) throws -> Bool { try SourceTree.targets().first { $0.name == program }?.uses.contains(room) == true }

    /// The reader itself, on a program that surely is dynamic: the one that runs this.
    @Test func theReaderReads() throws {
        let file = try ExecutableFile(URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath())
        #expect(file.interpreter?.contains("ld-linux") == true)
        #expect(file.libraries.contains { $0.hasPrefix("libc.so") })
        #expect(file.hasSymbol("main"))
        #expect(!file.hasSymbol(startingWith: "surely_not_there"))
    }

    @Test func theReaderRefusesWhatIsNoExecutable() {
        #expect(throws: (any Error).self) { try ExecutableFile(URL(fileURLWithPath: #filePath)) }
    }
}
