// Every import in Sources.
import Foundation
import Testing

@Suite struct ImportTests {
    @Test func noImportPointsUpOrSideways() throws {
        let modules = try SourceTree.modules()
        let files = try SourceTree.files("swift")
        #expect(files.count > 40)
        for file in files {
            for used in file.imports where !Arrows.allows(file.module, used, among: modules) { Issue.record("\(file.path) imports \(used): the design has no such arrow") }
        }
    }

    /// What a file imports, its target declares: nothing comes in by way of another.
    @Test func everyImportIsDeclared() throws {
        let targets = Dictionary(uniqueKeysWithValues: try SourceTree.targets().map { ($0.name, $0) })
        for file in try SourceTree.files("swift") {
            let declared = try #require(targets[file.module], "Package.swift has no target \(file.module)").uses
            for used in file.imports where !["Glibc", "Foundation", "FoundationEssentials"].contains(used) && !declared.contains(used) { Issue.record("\(file.path) imports \(used), which Package.swift does not declare for \(file.module)") }
        }
    }

    /// C rooms import nothing: their own header and the system's.
    @Test func cIncludesNothingOfOthers() throws {
        for file in try SourceTree.files("c", "h") {
            guard case .c = Layer(file.module) else { Issue.record("\(file.path): C belongs into a C room"); continue }
            for line in file.text.split(separator: "\n") where line.hasPrefix("#include") || line.hasPrefix("#import") {
                let name = line.drop { $0 != "\"" && $0 != "<" }.dropFirst().prefix { $0 != "\"" && $0 != ">" }
                let isOwn = line.contains("\"") && name == "\(file.module).h"
                let isOpenSSL = name.hasPrefix("openssl/"), isLDAP = name.hasPrefix("ldap") || name.hasPrefix("lber"), isResolver = name == "resolv.h"
                let isSystem = line.contains("<") && (isOpenSSL ? file.module == "COpenSSL" : isLDAP ? file.module == "CLDAP" : isResolver ? file.module == "CResolv" : true)
                if !isOwn && !isSystem { Issue.record("\(file.path) has \(line)") }
            }
        }
    }

    /// Synchronous and single-threaded: a forked child of a threaded process is a wreck.
    @Test func noThreadsOnTheMailPath() throws {
        let words = ["async", "await", "actor", "Task", "TaskGroup", "DispatchQueue", "Thread", "pthread_create", "withUnsafeContinuation", "withCheckedContinuation", "MainActor"]
        for file in try SourceTree.files("swift") {
            if case .officeProgram = Layer(file.module) { continue }
            // Provisioning is the room of those that may.
            if file.module == "Provisioning" { continue }
            let found = Set(file.code.split { !$0.isLetter && !$0.isNumber && $0 != "_" }.map(String.init)).intersection(words)
            if !found.isEmpty { Issue.record("\(file.path) has \(found.sorted().joined(separator: ", "))") }
        }
        for file in try SourceTree.files("c", "h") where file.text.contains("pthread_create") { Issue.record("\(file.path) starts threads") }
    }

    /// The reader of imports reads all of their forms, and none in comments and strings.
    @Test func theReaderIsNotFooled() {
        let file = SourceFile(path: "x/y.swift", text: """
            // import A
            /* import B /* import C */ import D */ import E
            @testable import F; import G
            public import struct H.I
            @preconcurrency
            import J
            let text = "import K" // import L
            let more = \"""
            import M
              \\\""" import N
            \"""
            \timport O
            importP()

            """)
        #expect(file.imports == ["E", "F", "G", "H", "J", "O"])
        #expect(file.lineCount == 13)
    }

    /// The rules themselves.
    @Test func theRulesAreThese() {
        let modules: Set<String> = ["CUnix", "COpenSSL", "CLDAP", "Unix", "Mail", "SMTP", "Queue", "Control", "TLS", "Directory", "semail", "qrunner", "portal"]
        func allows(_ module: String, _ used: String) -> Bool { Arrows.allows(module, used, among: modules) }
        for (module, used) in [("qrunner", "Queue"), ("qrunner", "Unix"), ("semail", "ArgumentParser"), ("semail", "Foundation"), ("Queue", "Mail"), ("Queue", "Unix"), ("Unix", "CUnix"), ("Unix", "Glibc"), ("SMTP", "Mail"), ("TLS", "COpenSSL"), ("Directory", "CLDAP")] {
            #expect(allows(module, used), "\(module) -> \(used)")
        }
        for (module, used) in [
            ("qrunner", "CUnix"), ("qrunner", "Glibc"), ("qrunner", "Foundation"), ("qrunner", "Dispatch"), ("qrunner", "ArgumentParser"), ("qrunner", "semail"), ("Queue", "SMTP"), ("Queue", "Control"), ("Queue", "CUnix"),
            ("Queue", "Glibc"), ("Queue", "COpenSSL"), ("SMTP", "Unix"), ("Mail", "Unix"), ("Mail", "Glibc"), ("Mail", "Foundation"), ("Unix", "Mail"), ("Directory", "COpenSSL"), ("TLS", "CLDAP"), ("semail", "CUnix"), ("semail", "Dispatch"),
            ("CUnix", "Unix"), ("portal", "qrunner"),
        ] { #expect(!allows(module, used), "\(module) -> \(used)") }
    }
}
