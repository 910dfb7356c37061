// Mailbox files, and the names under which they are found.
import Control
import Foundation
import Mail
import Testing
import Unix

@Suite struct MailboxTests {
    static let mailbox = Mailbox(owner: "xredon", uid: 30001, gid: 30002, maildir: "/var/lib/semail/mnt/xredon/Maildir", state: .suspended)

    @Test func theFormIsThis() {
        #expect(String(decoding: Self.mailbox.encoded, as: UTF8.self) == "owner xredon\nuid 30001\ngid 30002\nmaildir /var/lib/semail/mnt/xredon/Maildir\nstate suspended\n")
    }

    @Test func writtenItIsReadBack() {
        #expect(Mailbox(Self.mailbox.encoded) == Self.mailbox)
        let spaced = Mailbox(owner: "o", uid: 1, gid: 0, maildir: "/a b/ c /Maildir")
        #expect(Mailbox(spaced.encoded) == spaced)
    }

    @Test func aStateMayBeMissingAndUnknownLinesStand() {
        let text = "owner o\nuid 1\ngid 2\nmaildir /m\nquota 5G\n"
        #expect(Mailbox(Array(text.utf8)) == Mailbox(owner: "o", uid: 1, gid: 2, maildir: "/m", state: .active))
    }

    @Test(arguments: [
        "", "\n", "owner o\n", "uid 1\ngid 2\nmaildir /m\n", "owner o\ngid 2\nmaildir /m\n", "owner o\nuid 1\nmaildir /m\n", "owner o\nuid 1\ngid 2\n",
        "owner o\nuid x\ngid 2\nmaildir /m\n", "owner o\nuid -1\ngid 2\nmaildir /m\n", "owner o\nuid 4294967296\ngid 2\nmaildir /m\n", "owner o\nuid 1\ngid 2\nmaildir m\n", "owner o\nuid 1\ngid 2\nmaildir ./m\n",
        "owner o\nuid 1\ngid 2\nmaildir /m\nstate closed\n", "owner o\nuid 1\ngid 2\nmaildir /m\nstate\n", "owner\nuid 1\ngid 2\nmaildir /m\n",
    ])
    func whatIsNoneIsTold(text: String) { #expect(Mailbox(Array(text.utf8)) == nil) }

    @Test(arguments: [("/var/lib/semail/mnt/x/Maildir", "/var/lib/semail/mnt/x"), ("/Maildir", "/"), ("/a/b", "/a")]) func volumes(maildir: String, volume: String) {
        #expect(Mailbox(owner: "o", uid: 1, gid: 1, maildir: maildir).volume == volume)
    }

    // MARK: Names

    @Test(arguments: [("X@Semail.Test", "x@semail.test"), ("\"x\"@semail.test", "x@semail.test"), ("\"a b\"@c", "a b@c"), ("ü@b", "ü@b"), ("x+tag@b", "x+tag@b"), ("-rf@b", "-rf@b")]) func fileNames(address: String, name: String) {
        #expect(Mailboxes.fileName(Address(address)!) == name)
    }

    /// No stranger's address leads out of the directory, to a hidden file, or to the mark of a domain.
    @Test(arguments: ["\"../x\"@b", "\"a/b\"@c", "a/b@c", "\"/etc/passwd\"@b", "\".hidden\"@b", "\".\"@b", "\"..\"@b", "\"@semail.test\"@b", "\"\"@semail.test"]) func dangerousNames(address: String) throws {
        #expect(Mailboxes.fileName(try #require(Address(address))) == nil)
    }

    @Test func namesAreNoLongerThanAFileSystemTakes() {
        let domain = Array(repeating: "example", count: 31).joined(separator: ".")
        #expect(Mailboxes.fileName(Address("aaaaaa@\(domain)")!) != nil)
        #expect(Mailboxes.fileName(Address(localPart: Array(repeating: 0x61, count: 64), domain: Array(domain.utf8))) == nil)
    }

    @Test func foundByAnySpelling() throws {
        let home = try ControlHome()
        try home.addMailbox("xredon@semail.test", owner: "xredon")
        let mailboxes = try Mailboxes(home.home.mailboxes)
        for spelling in ["xredon@semail.test", "XREDON@SEMAIL.TEST", "\"xredon\"@semail.test", "\"x\\redon\"@Semail.test"] {
            #expect(try mailboxes.find(Address(spelling)!)?.owner == "xredon", "\(spelling)")
        }
        for other in ["xredon@semail.tes", "xredon@semail.test.", "xredon@other.test", "xredo@semail.test", "\"xredon@semail.test\"@semail.test", "\"@semail.test\"@x", "\"xredon \"@semail.test"] {
            if let address = Address(other) { #expect(try mailboxes.find(address) == nil, "\(other)") }
        }
    }

    @Test func domains() throws {
        let home = try ControlHome()
        try home.addMailbox("xredon@semail.test")
        let mailboxes = try Mailboxes(home.home.mailboxes)
        #expect(try mailboxes.hosts(domain: Array("semail.test".utf8)) == true)
        #expect(try mailboxes.hosts(domain: Array("SEMail.Test".utf8)) == true)
        for other in ["", "test", "semail.tes", "x/../@semail.test", "other.test", String(repeating: "a", count: 300)] { #expect(try mailboxes.hosts(domain: Array(other.utf8)) == false, "\(other)") }
    }

    /// Trouble is not "no such mailbox": the client must try again, not bounce.
    @Test func troubleIsNoAbsence() throws {
        let home = try ControlHome()
        try home.write("mailboxes/broken@semail.test", "nonsense\n")
        try Path.makeDirectory(home.path + "/mailboxes/directory@semail.test", mode: 0o700)
        try FileManager.default.createSymbolicLink(atPath: home.path + "/mailboxes/link@semail.test", withDestinationPath: "/etc/hostname")
        let mailboxes = try Mailboxes(home.home.mailboxes)
        for name in ["broken", "directory", "link"] { #expect(throws: SystemError.self, "\(name)") { try mailboxes.find(Address("\(name)@semail.test")!) } }
    }
}
