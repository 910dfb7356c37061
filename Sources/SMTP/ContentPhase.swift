// The octets of a message: taken, stored, and at the end answered for.
import Mail

extension Dialogue {
    /// Prepares for content; the replies that come before it are the commands' own.
    mutating func expectContent(_ form: Content.Form) {
        contentReader = Content(form, limits: limits, takesLF: client.isByHand, submission: additions.map { SubmissionHeader($0) })
        input.grow(to: InputBuffer.contentCapacity)
        // With room for the Received line before the first piece: an array that grows is two for a moment.
        content.reserveCapacity(InputBuffer.contentCapacity + 4096)
    }

    mutating func takeContent() -> Bool {
        guard !input.isEmpty else { return false }
        let (taken, hasEnded) = contentReader!.take(input.contents, into: &content)
        input.drop(taken)
        settle()
        if hasEnded { mode = .commands; finishMessage() }
        return true
    }

    mutating func takeChunk(_ left: Int, _ isLast: Bool) -> Bool {
        if left > 0 {
            guard !input.isEmpty else { return false }
            let part = UnsafeRawBufferPointer(rebasing: input.contents[..<min(left, input.count)])
            let (taken, _) = contentReader!.take(part, into: &content)
            input.drop(taken)
            mode = .chunk(left: left - taken, isLast: isLast)
            settle()
            return true
        }
        mode = .commands
        if isLast { finishMessage() } else { finishChunk() }
        return true
    }

    mutating func skipChunk(_ left: Int) -> Bool {
        if left > 0 {
            guard !input.isEmpty else { return false }
            let part = min(left, input.count)
            input.drop(part)
            mode = .unwantedChunk(left: left - part)
            return true
        }
        mode = .commands
        reply("503 5.5.1 That chunk belongs to no message; send MAIL and RCPT first")
        return true
    }

    /// After each piece of content: to the file with it, or an end to the session.
    private mutating func settle() {
        if contentReader?.fault == .bareLineEnd {
            reply("550 5.6.0 A line of a message ends with CR LF, nothing else (with netcat: nc -C); good-bye")
            endDraining()
            return
        }
        if contentReader?.fault != nil || storeFault != nil { dropMessage() }
        if !content.isEmpty { waiting.append(.store) }
    }

    /// A fault that cannot be mended by more content; nil while all is well.
    private func contentFault() -> StaticString? {
        switch contentReader?.fault {
        case .tooBig: "552 5.3.4 The message is larger than I take"
        case .lineTooLong: "500 5.6.0 A line of the message is too long"
        case .tooManyHops: "554 5.4.6 Too many Received lines: this message goes in circles"
        case .headerTooBig: "552 5.3.4 The fields that say who sends are too large"
        case .bareLineEnd, nil: nil
        }
    }

    private mutating func finishChunk() {
        if let text = contentFault() {
            reply(text)
            reset()
        } else if let storeFault {
            reply(storeFault)
            reset()
        } else {
            reply("250 2.0.0 Chunk taken")
        }
    }

    private mutating func finishMessage() {
        if contentReader?.endsInCR == true {
            reply("550 5.6.0 A line of a message ends with CR LF, nothing else (with netcat: nc -C); good-bye")
            endDraining()
            return
        }
        if let text = contentFault() {
            reply(text)
        } else if let storeFault {
            reply(storeFault)
        } else if !refusesHeader() {
            contentReader?.end(into: &content)
            if !content.isEmpty, !waiting.contains(.store) { waiting.append(.store) }
            waiting.append(.commit)
            transaction = nil
            contentReader = nil
            return
        }
        reset()
    }
}
