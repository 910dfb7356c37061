// A home of its own for each test, in a directory that goes with it.
import Control
import Foundation
import Unix

final class ControlHome {
    let path: String
    var home: Home { Home(path: path) }

    init(_ files: [String: String] = ["control/hostname": "mail.semail.test\n"]) throws {
        path = FileManager.default.temporaryDirectory.appendingPathComponent("semail-control-\(UUID().uuidString)").path
        for directory in ["", "/control", "/mailboxes"] { try FileManager.default.createDirectory(atPath: path + directory, withIntermediateDirectories: false) }
        for (name, text) in files { try write(name, text) }
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func write(_ name: String, _ text: String) throws { try Data(text.utf8).write(to: URL(fileURLWithPath: path + "/" + name)) }

    func addMailbox(_ address: String, owner: String = "someone", state: Mailbox.State = .active) throws {
        let mailbox = Mailbox(owner: owner, uid: 30001, gid: 30001, maildir: path + "/mnt/\(owner)/Maildir", state: state)
        try write("mailboxes/" + address, String(decoding: mailbox.encoded, as: UTF8.self))
        try write("mailboxes/@" + address.split(separator: "@").last!, "")
    }

    func control() throws -> Control { try Control(home.control) }
}
