// Which module may use which. Arrows point down only: programs -> rooms -> Unix and Mail -> CUnix.

enum Layer {
    /// C headers and shims: CUnix, CResolv, COpenSSL, CLDAP.
    case c
    /// A library target.
    case room
    /// An executable of the mail path: static, synchronous, single-threaded.
    case mailPathProgram
    /// semail, portal, provision: Foundation and others' packages are theirs alone. checkpassword-ldap is no part of the mail path either: libldap
    /// wants the system's name service, which is dynamic.
    case officeProgram

    static let officePrograms: Set<String> = ["semail", "portal", "provision", "checkpassword-ldap"]

    init(_ module: String) {
        let start = module.prefix(2)
        if start.count == 2, start.first == "C", start.last!.isUppercase { self = .c }
        else if start.first!.isUppercase { self = .room }
        else if Layer.officePrograms.contains(module) { self = .officeProgram }
        else { self = .mailPathProgram }
    }
}

enum Arrows {
    /// Rooms with rules of their own; all others may use Unix and Mail.
    private static let rooms: [String: Set<String>] = [
        "Mail": [],
        "SMTP": ["Mail"],
        "Unix": ["CUnix", "Glibc"],
        // It makes what the others only read: control files, mailboxes, and keys that sign. Engines of containers speak JSON, which Foundation
        // knows: the room is the office's alone.
        "Provisioning": ["Unix", "Mail", "Control", "DKIM", "TLS", "FoundationEssentials"],
        "DNS": ["Unix", "Mail", "CResolv"],
        "TLS": ["Unix", "COpenSSL"],
        "DKIM": ["Mail"],
        "Directory": ["Unix", "CLDAP"],
    ]

    /// What the office may use of others' packages.
    private static let packages: [String: Set<String>] = [
        "semail": ["Foundation", "ArgumentParser", "Glibc"],
        "portal": ["Hummingbird", "HummingbirdCore", "Mustache", "NIOCore", "NIOPosix", "HTTPTypes", "Logging"],
        "provision": ["Foundation"],
    ]

    static func allows(_ module: String, _ used: String, among modules: Set<String>) -> Bool {
        switch Layer(module) {
        case .c: false
        case .room: (rooms[module] ?? ["Unix", "Mail"]).contains(used)
        case .mailPathProgram, .officeProgram:
            if modules.contains(used), case .room = Layer(used) { true } else { packages[module]?.contains(used) == true }
        }
    }
}
