// A queue of its own for each test, in a directory that goes with it.
import Foundation
import Mail
import Queue
import Testing
import Unix

final class QueueHome {
    let path: String

    init() throws {
        path = FileManager.default.temporaryDirectory.appendingPathComponent("semail-queue-\(UUID().uuidString)").path
        for directory in ["", "/queue", "/queue/new", "/queue/later", "/queue/hold", "/queue/reason", "/run"] {
            try FileManager.default.createDirectory(atPath: path + directory, withIntermediateDirectories: false)
        }
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func store() throws -> QueueStore { try QueueStore(path + "/queue") }
    func entrance(mayLeave: Bool = false) throws -> QueueEntrance { try QueueEntrance(queue: path + "/queue", run: path + "/run", mayLeave: mayLeave) }

    /// Every file below queue/, in order.
    var files: [String] {
        get throws {
            let root = path + "/queue"
            return try FileManager.default.subpathsOfDirectory(atPath: root).filter {
                var isDirectory: ObjCBool = false
                return FileManager.default.fileExists(atPath: root + "/" + $0, isDirectory: &isDirectory) && !isDirectory.boolValue
            }.sorted()
        }
    }

    func contents(_ file: String) throws -> [UInt8] { try Array(Data(contentsOf: URL(fileURLWithPath: path + "/queue/" + file))) }

    func write(_ file: String, _ bytes: [UInt8]) throws { try Data(bytes).write(to: URL(fileURLWithPath: path + "/queue/" + file)) }

    static let envelope = Envelope(received: 0, sender: Address("a@example.org"), recipients: [Address("x@semail.test")!, Address("y@semail.test")!])

    /// A message in queue/new.
    func add(_ message: String = "Subject: x\n\nhello\n", _ envelope: Envelope = QueueHome.envelope) throws -> QueueID {
        let entrance = try entrance()
        var writer = try entrance.begin(envelope)
        let id = writer.id
        try writer.write(Array(message.utf8))
        try entrance.commit(writer)
        return id
    }
}
