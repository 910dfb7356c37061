// Deliveries that go together: many messages into one mailbox, with one flush of its names.
import Unix

public struct Delivery {
    /// One message to deliver: the open file, placed at the message, and the lines to put before it.
    public struct Message {
        public let source: Int32
        public let sender: [UInt8]?
        public let recipient: [UInt8]?
        /// What the message is called at every try; nil: there is one try only.
        public let name: String?
        /// It may have been delivered before, by a try that died before it could say so.
        public let mayBeThere: Bool

        /// nil leaves the line out; an empty sender is the null sender, `<>`.
        public init(source: Int32, sender: [UInt8]?, recipient: [UInt8]?, name: String? = nil, mayBeThere: Bool = false) {
            self.name = name
            self.mayBeThere = mayBeThere
            self.source = source
            self.sender = sender
            self.recipient = recipient
        }

        /// Return-Path (RFC 5321 4.4) and Delivered-To.
        var prefix: [UInt8] {
            var lines: [UInt8] = []
            if let sender { lines += Array("Return-Path: <".utf8) + sender + Array(">\n".utf8) }
            if let recipient { lines += Array("Delivered-To: ".utf8) + recipient + Array("\n".utf8) }
            return lines
        }
    }

    public enum Outcome: Equatable, Sendable {
        case delivered
        /// RFC 3463 status and a sentence; worth another try.
        case tryAgain(status: String, text: String)

        /// The report line: `K`, or `Z 4.2.2 sentence`.
        public var line: String {
            switch self {
            case .delivered: "K\n"
            case .tryAgain(let status, let text): "Z \(status) \(text)\n"
            }
        }
    }

    /// Delivers all; each message has an outcome of its own.
    public static func run(_ messages: [Message], to maildir: inout Maildir) -> [Outcome] {
        var outcomes = [Outcome](repeating: .delivered, count: messages.count)
        let doubtful = messages.compactMap { $0.mayBeThere ? $0.name : nil }
        let read: Set<String>
        do throws(SystemError) { read = try maildir.read(among: Set(doubtful)) } catch { return messages.map { _ in outcome(error) } }
        var written: [(Int, Maildir.Written)] = []
        for (index, message) in messages.enumerated() {
            if let name = message.name, read.contains(name) { continue }
            do throws(SystemError) {
                written.append((index, try maildir.write(prefix: message.prefix, source: message.source, name: message.name)))
            } catch { outcomes[index] = outcome(error) }
        }
        guard !written.isEmpty else { return outcomes }
        var published: [Maildir.Written] = []
        for (index, file) in written {
            do throws(SystemError) { if try maildir.publish(file) { published.append(file) } } catch { outcomes[index] = outcome(error) }
        }
        do throws(SystemError) { try maildir.flush() } catch {
            for file in published { maildir.withdraw(file) }
            for (index, _) in written { outcomes[index] = outcome(error) }
        }
        return outcomes
    }

    public static func outcome(_ error: SystemError) -> Outcome {
        if error.isNoSpace { return .tryAgain(status: "4.2.2", text: "The mailbox is full") }
        if error.isMissing { return .tryAgain(status: "4.2.1", text: "The mailbox is not there (\(error.text))") }
        return .tryAgain(status: "4.3.0", text: error.text)
    }
}
