// Signatures for messages that leave: asked of dkim-sign, one message after the other, over one socket.
import Mail
import Program
import Queue
import Unix

final class Signer {
    struct Refusal: Error { let text: String }

    typealias Answer = (Result<[UInt8], Refusal>) -> Void

    let template: Template
    private var socket: OwnedDescriptor?
    private var waiting: [(message: ActiveMessage, answer: Answer)] = []
    private var current: (message: ActiveMessage, answer: Answer)?
    private var tag: UInt64 = 0

    init(_ template: Template) { self.template = template }

    /// -1 while there is nothing to hear.
    var descriptor: Int32 { socket?.descriptor.raw ?? -1 }
    var isBusy: Bool { current != nil }

    func sign(_ message: ActiveMessage, _ runner: Runner, _ answer: @escaping Answer) { waiting.append((message, answer)) }

    /// The next message to dkim-sign, if it has nothing to do.
    func start(_ runner: Runner) {
        while current == nil, !waiting.isEmpty {
            let next = waiting.removeFirst()
            do throws(SystemError) {
                if socket == nil {
                    let ends = try Socket.pair()
                    tag += 1
                    try template.start(tag: tag, descriptors: [ends.second.raw])
                    socket = OwnedDescriptor(ends.takeFirst())
                }
                let file = try next.message.open.reopen(in: runner.store)
                let request = TemplateRequest(arguments: [Array(next.message.id.text.utf8)], environment: [], descriptors: [])
                try Socket.send(descriptor, request.encoded(tag: 0), descriptors: [file.raw])
                current = next
            } catch {
                socket = nil
                next.answer(.failure(Refusal(text: "the message could not be signed: \(error.text)")))
            }
        }
    }

    /// `K` and the fields, or `Z` and a sentence.
    func takeAnswer(_ runner: Runner) {
        let bytes = ((try? Socket.receive(descriptor, limit: 65536)) ?? nil)?.bytes
        if bytes == nil { socket = nil }
        guard let done = current else { return }
        current = nil
        switch bytes?.first {
        case 0x4b: done.answer(.success(Array(bytes!.drop { $0 != 0x0a }.dropFirst())))
        case nil: done.answer(.failure(Refusal(text: "the message could not be signed: dkim-sign has ended")))
        default: done.answer(.failure(Refusal(text: String(decoding: bytes!.dropFirst(2), as: UTF8.self))))
        }
    }
}
