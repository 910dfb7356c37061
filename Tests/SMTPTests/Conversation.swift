// Plays the driver of a dialogue: gives it octets in whatever pieces, does what each step asks without a file or a socket,
// and watches that the steps come in a lawful order. The fuzz target of the session is this too.
import Mail
import SMTP

final class Conversation {
    struct Message: Equatable {
        let envelope: Envelope
        var content: [UInt8]
    }

    enum Ending: Equatable { case closed, drained }

    /// What was to be asked of those who know passwords.
    struct Question: Equatable {
        let user: [UInt8]
        let password: [UInt8]
    }

    private(set) var dialogue: Dialogue
    /// What the client has heard.
    private(set) var sent: [UInt8] = []
    /// What is in the queue.
    private(set) var messages: [Message] = []
    private(set) var lookUps: [Address] = []
    private(set) var senderLookUps: [Address] = []
    private(set) var questions: [Question] = []
    private(set) var pauses = 0
    private(set) var discards = 0
    private(set) var ending: Ending?
    /// Steps that should never have been asked for, and replies that are none.
    private(set) var violations: [String] = []
    /// The most octets of replies, and of content, that were waiting at once.
    private(set) var mostReplies = 0
    private(set) var mostContent = 0

    var hasRoom: (Int) -> Bool = { _ in true }
    var lookUp: (Address, Int) -> MailboxAnswer = { address, _ in .exists([address]) }
    var lookUpSender: (Address) -> SenderAnswer = { _ in .exists }
    var authenticate: (Question) -> Authentication = { _ in .refused }
    /// Asked before each of these steps; a fault makes it fail.
    var openFault: () -> StoreFault? = { nil }
    var storeFault: () -> StoreFault? = { nil }
    var commitFault: () -> StoreFault? = { nil }

    private var file: Message?
    private var isFileBroken = false
    private var opened = 0
    private var acknowledged = 0

    static let hostname = Array("mail.semail.test".utf8)
    static let seconds = 1_795_467_913

    /// `submitter`: at the outgoing server; `mayAuthenticate`: over TLS.
    static func client(byHand: Bool = false, submitter: Submitter? = nil, mayAuthenticate: Bool = false) -> Client {
        var client = Client()
        client.isByHand = byHand
        client.address = byHand ? [] : Array("192.0.2.7".utf8)
        client.submitter = submitter
        client.mayAuthenticate = mayAuthenticate
        if mayAuthenticate { client.tls = Array("TLSv1.3 TLS_AES_256_GCM_SHA384".utf8) }
        return client
    }

    init(_ client: Client = client(), limits: Limits = Limits(), hasSpokenFirst: Bool = false) {
        dialogue = Dialogue(hostname: Conversation.hostname, limits: limits, client: client, hasSpokenFirst: hasSpokenFirst)
    }

    /// The client sends this, all at once; the dialogue goes on until it wants more.
    func send(_ piece: [UInt8]) {
        advance()
        var rest = piece[...]
        while !rest.isEmpty, ending == nil {
            let hasGot = dialogue.input.fill { room in
                let count = min(room.count, rest.count)
                room.copyBytes(from: rest.prefix(count))
                rest = rest.dropFirst(count)
                return count
            }
            // A driver could not tell this from a client that has closed.
            if !hasGot { violate("asked to read without room for an octet"); return }
            advance()
        }
    }

    func send(_ text: String) { send(Array(text.utf8)) }

    func timeIsOver() {
        advance()
        dialogue.timeIsOver("421 4.4.2 Time is over")
        // The file of a session that is cut off goes with its process.
        file = nil
        advance()
    }

    private func violate(_ sentence: String) { violations.append(sentence) }

    private func advance() {
        while ending == nil, step() {}
    }

    /// One step; false when the client's turn has come.
    private func step() -> Bool {
        switch dialogue.next() {
        case .read:
            deliverReplies()
            return false
        case .room(let size):
            dialogue.room(hasRoom(size))
        case .lookUp(let address, let size):
            lookUps.append(address)
            dialogue.answer(lookUp(address, size))
        case .lookUpSender(let address):
            if dialogue.submitter != .host { violate("a sender was looked up for one who is not the host") }
            senderLookUps.append(address)
            dialogue.answer(lookUpSender(address))
        case .authenticate(let user, let password):
            let question = Question(user: user, password: password)
            if dialogue.client.submitter == nil || !dialogue.client.mayAuthenticate { violate("a password was asked about where none is taken") }
            if user.isEmpty || password.isEmpty || user.contains(0) || password.contains(0) { violate("a question that cannot be asked: \(question)") }
            questions.append(question)
            dialogue.answer(authenticate(question))
        case .open(let envelope):
            if (envelope.submitter == nil) != (dialogue.client.submitter == nil) { violate("a message by \(String(describing: envelope.submitter))") }
            if file != nil { violate("a message was opened while another was open") }
            if envelope.recipients.isEmpty { violate("a message was opened for nobody") }
            if let fault = openFault() {
                file = nil
                dialogue.opened(.failure(fault), seconds: 0)
            } else {
                opened += 1
                file = Message(envelope: envelope, content: [])
                isFileBroken = false
                dialogue.opened(.success(Array("id\(opened)".utf8)), seconds: Conversation.seconds)
            }
        case .store:
            store()
        case .commit:
            commit()
        case .discard:
            if file == nil { violate("discarded what was not open") }
            file = nil
            discards += 1
        case .pause:
            deliverReplies()
            pauses += 1
        case .end:
            deliverReplies()
            finish(.closed)
        case .endDraining:
            deliverReplies()
            finish(.drained)
        }
        return true
    }

    private func store() {
        let piece = dialogue.content
        mostContent = max(mostContent, piece.count)
        if file == nil { violate("stored into no message") }
        if isFileBroken { violate("stored on after a fault") }
        if piece.contains(0x0d) { violate("a CR was stored") }
        if let fault = storeFault() {
            isFileBroken = true
            dialogue.stored(.failure(fault))
        } else {
            file?.content += piece
            dialogue.stored(.success(()))
        }
    }

    private func commit() {
        guard let message = file else { violate("committed what was not open"); return }
        file = nil
        if isFileBroken { violate("committed what could not be stored") }
        if let fault = commitFault() { dialogue.committed(.failure(fault)); return }
        if !message.content.starts(with: Array("Received: ".utf8)) { violate("committed without a Received line") }
        if message.content.last != 0x0a { violate("committed without a line end at the end") }
        if dialogue.client.submitter != nil { violations += PlainHeader.faults(message.content) }
        messages.append(message)
        dialogue.committed(.success(Array("id\(opened)".utf8)))
    }

    private func finish(_ how: Ending) {
        if file != nil { violate("ended with a message open") }
        ending = how
    }

    /// RFC 5321 4.2.1: whole lines, three digits, a hyphen or a space, printable text; 4.5.3.1.5: 512 octets at most.
    private func deliverReplies() {
        let replies = dialogue.replies
        mostReplies = max(mostReplies, replies.count)
        dialogue.replies.removeAll()
        sent += replies
        guard !replies.isEmpty else { return }
        if !replies.suffix(2).elementsEqual([0x0d, 0x0a]) { violate("a reply without its CR LF") }
        for line in replies.split(separator: 0x0a) {
            let text = line.dropLast()
            let isWhole = text.count >= 4 && 0x32...0x35 ~= text.first! && text.prefix(3).allSatisfy { 0x30...0x39 ~= $0 }
            if line.last != 0x0d || !isWhole || text[text.startIndex + 3] != 0x20 && text[text.startIndex + 3] != 0x2d
                || line.count > 511 || text.contains(where: { $0 < 0x20 || $0 >= 0x7f }) {
                violate("no reply line: \(String(decoding: text, as: UTF8.self))")
            }
        }
        acknowledged += replies.split(separator: 0x0a).filter { $0.starts(with: Array("250 2.0.0 queued as ".utf8)) }.count
        if acknowledged != messages.count { violate("\(acknowledged) messages acknowledged, \(messages.count) in the queue") }
    }
}

extension Conversation {
    /// The codes the client has heard: `220`, `250-` for a line with more to come, `250 2.1.0` with its enhanced code.
    var lines: [String] { String(decoding: sent, as: UTF8.self).split(separator: "\r\n").map(String.init) }

    /// The three digits of each reply.
    var codes: [Int] { lines.filter { $0.utf8.dropFirst(3).first == 0x20 }.compactMap { Int($0.prefix(3)) } }

    /// `550 5.1.1` of each reply that has both.
    var statuses: [String] { lines.filter { $0.utf8.dropFirst(3).first == 0x20 }.map { $0.split(separator: " ").prefix(2).joined(separator: " ") } }
}
