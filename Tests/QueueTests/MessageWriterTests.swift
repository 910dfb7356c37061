// The way into the queue: nothing until commit, everything then.
import Foundation
import Mail
import Queue
import Testing
import Unix

@Suite struct MessageWriterTests {
    @Test func whatIsCommittedIsThereWhole() throws {
        let home = try QueueHome()
        let before = Clock.microseconds()
        let id = try home.add("Subject: x\n\nhello\n")
        #expect(try home.files == ["new/\(id.text)"])
        let text = try home.contents("new/\(id.text)")
        guard case .envelope(let envelope, let offset) = Envelope.read(text) else { Issue.record("malformed"); return }
        #expect(before...Clock.microseconds() ~= envelope.received)
        #expect(envelope.sender == Address("a@example.org"))
        #expect(envelope.recipients.map(\.address) == QueueHome.envelope.recipients.map(\.address))
        #expect(String(decoding: text[offset...], as: UTF8.self) == "Subject: x\n\nhello\n")
        // The name is the time of acceptance.
        #expect(id.text.prefix(11) == QueueID.make(microseconds: envelope.received).text.prefix(11))
    }

    /// A session that is killed, or gives up, leaves nothing behind.
    @Test func whatIsNotCommittedNeverWas() throws {
        let home = try QueueHome()
        do {
            let entrance = try home.entrance()
            var writer = try entrance.begin(QueueHome.envelope)
            try writer.write([UInt8](repeating: 0x61, count: 200_000))
            #expect(try home.files == [])
        }
        #expect(try home.files == [])
    }

    @Test(arguments: [0, 1, 1000, 65_535, 65_536, 65_537, 1 << 20, 3_000_000]) func everySizeInEveryPieces(size: Int) throws {
        let home = try QueueHome()
        let message = (0..<size).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
        for piece in [max(1, size), 1000, 65_536] where size / piece <= 3000 {
            let entrance = try home.entrance()
            var writer = try entrance.begin(QueueHome.envelope)
            let id = writer.id
            var start = 0
            while start < size {
                try writer.write(Array(message[start..<min(size, start + piece)]))
                start += piece
            }
            try entrance.commit(writer)
            let text = try home.contents("new/\(id.text)")
            guard case .envelope(_, let offset) = Envelope.read(text) else { Issue.record("malformed"); continue }
            #expect(Array(text[offset...]) == message)
        }
    }

    /// qrunner hears the name; a session that finds no qrunner goes on all the same.
    @Test func theTriggerIsPulled() throws {
        let home = try QueueHome()
        _ = try home.add()
        try Path.makePipe(home.path + "/run/trigger", mode: 0o600)
        _ = try home.add()  // Nobody reads: no error, no waiting.
        let trigger = try Path.openReadWrite(home.path + "/run/trigger")
        let first = try home.add(), second = try home.add()
        var buffer = [UInt8](repeating: 0, count: 100)
        let count = try buffer.withUnsafeMutableBytes { try IO.read(trigger.raw, into: $0) }
        #expect(String(decoding: buffer[..<count], as: UTF8.self) == "\(first.text)\n\(second.text)\n")
        #expect(try home.files.count == 4)
    }

    /// Where the session is the queue's owner, the file is its own and nobody else's.
    @Test func theFileIsTheOwnersAlone() throws {
        let home = try QueueHome()
        let id = try home.add()
        #expect(try Directory(home.path + "/queue/new").status(id.text).mode == 0o600)
    }

    /// Whether a message may go to other hosts is said by its file, as it was born; what the envelope says is another's word.
    @Test(arguments: [false, true]) func theFileSaysWhetherItMayLeave(_ mayLeave: Bool) throws {
        let home = try QueueHome()
        let entrance = try home.entrance(mayLeave: mayLeave)
        let writer = try entrance.begin(QueueHome.envelope)
        let id = writer.id
        try entrance.commit(writer)
        #expect(try Directory(home.path + "/queue/new").status(id.text).mode == (mayLeave ? 0o1600 : 0o600))
        #expect(try home.store().open(id, .new)?.mayLeave == mayLeave)
        try home.store().move(id, from: .new, to: .later(minute: 7))
        #expect(try home.store().open(id, .later(minute: 7))?.mayLeave == mayLeave)
    }

    @Test func withoutAQueueItSaysSo() {
        #expect(throws: SystemError.self) { _ = try QueueEntrance(queue: "/nonexistent/queue", run: "/nonexistent/run", mayLeave: false) }
    }
}
