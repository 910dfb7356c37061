// swift-tools-version: 6.2
// Arrows point down only: programs -> rooms -> Unix and Mail -> CUnix.
// Tests/ArchitectureTests reads the imports and the link lists and fails on any other.
import PackageDescription

let settings: [SwiftSetting] = [.swiftLanguageMode(.v6)]

/// A room: a library target.
func room(_ name: String, uses: [Target.Dependency] = []) -> Target {
    .target(name: name, dependencies: uses, swiftSettings: settings)
}

/// A program of the mail path: static, because a process per connection is only cheap when exec is; and its data begin in another huge page
/// than its code ends in, so that a template can give its forks the code in huge pages.
func program(_ name: String, uses: [Target.Dependency]) -> Target {
    .executableTarget(name: name, dependencies: uses, swiftSettings: settings,
                      linkerSettings: [.unsafeFlags(["-static-executable", "-Xlinker", "-z", "-Xlinker", "max-page-size=2097152"])])
}

/// Programs that use Foundation: glibc stays dynamic for its name service; Swift's libraries travel with the program.
let office: [LinkerSetting] = [
    .unsafeFlags(["-static-stdlib", "-use-ld=lld"]), .linkedLibrary("_FoundationCollections"), .linkedLibrary("_FoundationCShims"), .linkedLibrary("swiftSynchronization"),
]

let package = Package(
    name: "SEMail",
    dependencies: [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.0", traits: []),
        .package(url: "https://github.com/hummingbird-project/swift-mustache", from: "2.1.0"),
        // What the portal uses of Hummingbird's own foundations.
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.8.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.14.0"),
    ],
    targets: [
        .target(name: "CUnix"),
        .target(name: "CResolv", linkerSettings: [.linkedLibrary("resolv")]),
        // Into the program, whatever else is dynamic in it.
        .target(name: "COpenSSL", linkerSettings: [.linkedLibrary(":libssl.a"), .linkedLibrary(":libcrypto.a")]),
        .target(name: "CLDAP", linkerSettings: [.linkedLibrary("ldap"), .linkedLibrary("lber")]),
        room("Unix", uses: ["CUnix"]),
        room("Mail"),
        room("Program", uses: ["Unix"]),
        room("Control", uses: ["Unix", "Mail"]),
        room("SMTP", uses: ["Mail"]),
        room("Queue", uses: ["Unix", "Mail"]),
        room("Maildir", uses: ["Unix"]),
        room("DNS", uses: ["CResolv", "Unix", "Mail"]),
        room("TLS", uses: ["COpenSSL", "Unix"]),
        room("DKIM", uses: ["Mail"]),
        room("Directory", uses: ["CLDAP", "Unix"]),
        room("Provisioning", uses: ["Unix", "Mail", "Control", "DKIM", "TLS"]),

        program("tcp-accept", uses: ["Unix", "Program"]),
        program("smtpd-session", uses: ["Unix", "Program", "Control", "Mail", "SMTP", "Queue"]),
        program("qrunner", uses: ["Unix", "Program", "Control", "Mail", "Queue"]),
        program("maildir-deliver", uses: ["Unix", "Program", "Maildir"]),
        program("tls-wrap", uses: ["Unix", "Program", "TLS"]),
        program("remote-relay", uses: ["Unix", "Program", "Control", "Mail", "DNS", "TLS"]),
        program("domain-check", uses: ["Unix", "Program", "DNS"]),
        program("dkim-sign", uses: ["Unix", "Program", "Control", "Mail", "DKIM", "TLS"]),
        program("auth-check", uses: ["Unix", "Program"]),
        program("maildir-export", uses: ["Unix", "Program", "Control", "Mail"]),
        program("sendmail", uses: ["Unix", "Program", "Control", "Mail"]),
        program("courier-auth", uses: ["Unix", "Program", "Control", "Mail"]),

        // libldap has no static form that could look up a host's name.
        .executableTarget(
            name: "checkpassword-ldap", dependencies: ["Unix", "Program", "Control", "Mail", "Directory"], swiftSettings: settings,
            linkerSettings: [.unsafeFlags(["-static-stdlib"])]),

        .executableTarget(
            name: "provision", dependencies: ["Unix", "Program", "Control", "Mail", "Queue", "Provisioning"], swiftSettings: settings, linkerSettings: office),

        .executableTarget(
            name: "semail",
            dependencies: [
                "Unix", "Program", "Control", "Mail", "Queue", "Provisioning", "TLS", "Directory", .product(name: "ArgumentParser", package: "swift-argument-parser"),
            ],
            swiftSettings: settings, linkerSettings: office),

        .executableTarget(
            name: "portal",
            dependencies: [
                "Unix", "Program", "Control", "Mail", "Queue", "Provisioning", "TLS", .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "HummingbirdCore", package: "hummingbird"), .product(name: "Mustache", package: "swift-mustache"),
                .product(name: "NIOCore", package: "swift-nio"), .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "HTTPTypes", package: "swift-http-types"), .product(name: "Logging", package: "swift-log"),
            ],
            // Pages, style and script are part of the program.
            resources: [.embedInCode("Templates"), .embedInCode("Static")],
            swiftSettings: settings,
            // As semail's; and not where tests are linked with it, whose own libraries are dynamic.
            linkerSettings: [
                .unsafeFlags(["-static-stdlib", "-use-ld=lld"], .when(configuration: .release)),
                .linkedLibrary("_FoundationCollections", .when(configuration: .release)), .linkedLibrary("_FoundationCShims", .when(configuration: .release)),
                .linkedLibrary("CoreFoundation", .when(configuration: .release)), .linkedLibrary("_FoundationICU", .when(configuration: .release)),
                .linkedLibrary("swiftSynchronization", .when(configuration: .release)),
            ]),

        .testTarget(name: "MailTests", dependencies: ["Mail"], swiftSettings: settings),
        .testTarget(name: "SMTPTests", dependencies: ["SMTP", "Mail"], swiftSettings: settings),
        .testTarget(name: "ProgramTests", dependencies: ["Program"], swiftSettings: settings),
        .testTarget(name: "QueueTests", dependencies: ["Queue", "Mail", "Unix"], swiftSettings: settings),
        .testTarget(name: "ControlTests", dependencies: ["Control", "Mail", "Unix"], swiftSettings: settings),
        .testTarget(name: "DKIMTests", dependencies: ["DKIM"], swiftSettings: settings),
        .testTarget(name: "DNSTests", dependencies: ["DNS"], swiftSettings: settings),
        .testTarget(name: "ProvisioningTests", dependencies: ["Provisioning", "Control", "Mail", "Unix"], swiftSettings: settings),
        .testTarget(name: "PortalTests", dependencies: ["portal", "Queue"], swiftSettings: settings),
        .testTarget(name: "ArchitectureTests", swiftSettings: settings),
    ]
)
