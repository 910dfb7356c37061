// The queue as its owner sees it: opened, marked, moved, listed, forgotten.
import Foundation
import Mail
import Queue
import Testing
import Unix

@Suite struct QueueStoreTests {
    @Test func aMessageIsOpenedAtItsPlace() throws {
        let home = try QueueHome(), store = try home.store()
        let id = try home.add("Subject: x\n\nhello\n")
        let message = try #require(try open(store, id, .new))
        #expect(message.envelope.recipients.count == 2)
        #expect(message.size == "Subject: x\n\nhello\n".utf8.count)
        #expect(String(decoding: try IO.readAll(message.file, from: message.offset, limit: 1000), as: UTF8.self) == "Subject: x\n\nhello\n")
    }

    /// An open message cannot be held by a macro's copies: what the tests look at, taken out of it.
    struct Seen {
        let envelope: Envelope
        let offset: Int
        let size: Int
        let headers: String
        let keeper: Keeper
        var file: Int32 { keeper.message.file.raw }
    }

    final class Keeper {
        let message: OpenMessage
        init(_ message: consuming OpenMessage) { self.message = message }
    }

    private func open(_ store: borrowing QueueStore, _ id: QueueID, _ place: QueueStore.Place) throws -> Seen? {
        guard let message = try store.open(id, place) else { return nil }
        let keeper = Keeper(message)
        return Seen(envelope: keeper.message.envelope, offset: keeper.message.messageOffset, size: keeper.message.size,
                    headers: String(decoding: try keeper.message.headers(), as: UTF8.self), keeper: keeper)
    }

    @Test(arguments: [
        ("A: b\nC: d\n\nbody\n\nmore\n", "A: b\nC: d\n"), ("A: b\n\n", "A: b\n"), ("A: b\n", "A: b\n"), ("\nbody\n", ""), ("", ""), ("A: b\n \n\nx", "A: b\n \n"),
    ])
    func headersEndAtTheEmptyLine(message: String, headers: String) throws {
        let home = try QueueHome(), store = try home.store()
        let id = try home.add(message)
        #expect(try open(store, id, .new)?.headers == headers)
    }

    @Test func noMoreThanSixtyFourKBOfHeaders() throws {
        let home = try QueueHome(), store = try home.store()
        let id = try home.add(String(repeating: "A: b\n", count: 50_000))
        #expect(try open(store, id, .new)?.headers.utf8.count == 65536)
    }

    /// The most recipients, each as long as can be.
    @Test(arguments: [1, 10, 100, 1000, 3000]) func envelopesOfEverySize(count: Int) throws {
        let home = try QueueHome(), store = try home.store()
        let recipients = (0..<count).map { Address("\($0)" + String(repeating: "x", count: 58) + "@" + String(repeating: "example.", count: 31) + "org")! }
        let id = try home.add("x\n", Envelope(received: 0, sender: nil, recipients: recipients))
        let message = try #require(try open(store, id, .new))
        #expect(message.envelope.recipients.map(\.address) == recipients)
        #expect(message.size == 2)
    }

    @Test(arguments: ["", "x", "hello\n", "semail 1\n", "semail 1\nreceived 1.000000\nfrom a@b\nto W c@d\n", "semail 2\nreceived 1.000000\nfrom a@b\n\n"]) func whatIsNoMessageIsToldApart(text: String) throws {
        let home = try QueueHome(), store = try home.store()
        let id = QueueID("0123456789abcdef")!
        try home.write("new/\(id.text)", Array(text.utf8))
        #expect(try open(store, id, .new) == nil)
    }

    @Test func aLargeForeignFileIsToldApartToo() throws {
        let home = try QueueHome(), store = try home.store()
        let id = QueueID("0123456789abcdef")!
        for text in ["x", "semail 1\nreceived 1.000000\nfrom a@b\nx ", "semail 1\nx "] {
            try home.write("new/\(id.text)", Array(text.utf8) + [UInt8](repeating: 0x61, count: 3 << 20))
            #expect(try open(store, id, .new) == nil)
        }
    }

    @Test func whatIsNotThereIsAnErrorThatSaysSo() throws {
        let home = try QueueHome(), store = try home.store()
        do {
            let seen = try open(store, QueueID("0123456789abcdef")!, .new)
            Issue.record("no error, but \(seen == nil ? "nothing" : "a message")")
        } catch let error as SystemError { #expect(error.isMissing) }
    }

    @Test func aMarkIsOneOctet() throws {
        let home = try QueueHome(), store = try home.store()
        let id = try home.add()
        let before = try home.contents("new/\(id.text)")
        let seen = try #require(try open(store, id, .new))
        try seen.keeper.message.mark(seen.envelope.recipients[1], .done)
        let after = try home.contents("new/\(id.text)")
        #expect(zip(before, after).filter { $0 != $1 }.count == 1)
        #expect(before.count == after.count)
        #expect(try open(store, id, .new)?.envelope.recipients.map(\.isWaiting) == [true, false])
    }

    @Test func movesAreWhereTheySay() throws {
        let home = try QueueHome(), store = try home.store()
        let id = try home.add()
        let text = try home.contents("new/\(id.text)")
        var place = QueueStore.Place.new
        for target in [QueueStore.Place.later(minute: 29_924_466), .later(minute: 29_924_467), .hold, .new, .hold, .later(minute: 1)] {
            try store.move(id, from: place, to: target)
            place = target
            #expect(try home.files == ["\(target.text)/\(id.text)"])
            #expect(try home.contents("\(target.text)/\(id.text)") == text)
            #expect(try store.find(id) == target)
        }
        #expect(try store.minutes() == [1, 29_924_466, 29_924_467])
        store.removeMinute(29_924_466)
        store.removeMinute(1)  // It holds a message: it stays.
        #expect(try store.minutes() == [1, 29_924_467])
    }

    @Test func aMoveOfWhatIsGoneFails() throws {
        let home = try QueueHome(), store = try home.store()
        #expect(throws: SystemError.self) { try store.move(QueueID("0123456789abcdef")!, from: .new, to: .hold) }
        #expect(try store.find(QueueID("0123456789abcdef")!) == nil)
    }

    @Test func listsNameByName() throws {
        let home = try QueueHome(), store = try home.store()
        var ids = Set<String>()
        for _ in 0..<5 { ids.insert(try home.add().text) }
        try home.write("new/.hidden", [])
        let listing = try store.list(.new)
        var names = Set<String>()
        while let name = listing.next() { names.insert(name) }
        #expect(names == ids)
    }

    @Test func reasonsComeAndGo() throws {
        let home = try QueueHome(), store = try home.store()
        let id = try home.add()
        #expect(store.reason(id) == [])
        store.note(id, Array("first, and longer\n".utf8))
        store.note(id, Array("second\n".utf8))
        #expect(String(decoding: store.reason(id), as: UTF8.self) == "second\n")
        try store.move(id, from: .new, to: .later(minute: 5))
        try store.remove(id, from: .later(minute: 5))
        #expect(try home.files == [])
    }

    /// Tried, held, released and delivered: its reason must go with it.
    @Test func nothingOfAForgottenMessageStays() throws {
        let home = try QueueHome(), store = try home.store()
        let id = try home.add()
        store.note(id, Array("full\n".utf8))
        try store.move(id, from: .new, to: .later(minute: 5))
        #expect(try QueueOrder.hold.apply(to: id, in: store) == .done(at: nil))
        guard case .done(let place?) = try QueueOrder.release.apply(to: id, in: store) else { Issue.record("not released"); return }
        try store.remove(id, from: place)
        #expect(try home.files == [])
    }

    @Test func oneOwnerAtATime() throws {
        let home = try QueueHome(), store = try home.store()
        do {
            let lock = try store.lock()
            let second = try home.store().lock()
            let hasFirst = lock != nil, hasSecond = second != nil
            #expect(hasFirst && !hasSecond)
        }
        let third = try store.lock()
        let hasThird = third != nil
        #expect(hasThird)
    }
}
