// semail queue list and show.
import ArgumentParser
import Mail
import Queue
import Unix

extension QueueCommand {
    struct List: HomeCommand {
        static let configuration = CommandConfiguration(
            abstract: "Lists every message that waits.", discussion: "New ones first, then those on hold, then the others by their next try.")

        @OptionGroup var common: Common

        func run() throws {
            let store = try QueueStore(common.openHome().queue)
            if common.json { try document(store); return }
            let table = Table([("ID", 16), ("STATE", 5), ("AGE", 7), ("SIZE", 5), ("NEXT TRY", 8), ("SENDER", 30), ("WAITING RECIPIENTS", 0)])
            let now = Clock.seconds()
            var count = 0
            try store.forEach { waiting in
                count += 1
                table.row([
                    Cell(waiting.id.text), Cell(waiting.shownState), Cell(Words.duration(waiting.age(now)), raw: "\(waiting.age(now))"),
                    Cell(Words.size(waiting.size), raw: "\(waiting.size)"), next(waiting, now), Cell(waiting.sender),
                    Cell(people(waiting.recipients), raw: waiting.recipients.map(\.text).joined(separator: " ")),
                ])
            }
            if Out.isTerminal { Out.line(Out.colour(count == 0 ? "the queue is empty" : Words.count(count, "message", "messages"), .dim)) }
        }

        /// One object at a time: the array is never in memory.
        private func document(_ store: borrowing QueueStore) throws {
            var isFirst = true
            Out.write("{\n\"messages\": [")
            try store.forEach { waiting in
                Out.write((isFirst ? "\n" : ",\n") + JSON.object(waiting.members).text)
                isFirst = false
            }
            Out.line(isFirst ? "]\n}" : "\n]\n}")
        }

        private func next(_ waiting: Waiting, _ now: Int) -> Cell {
            switch waiting.nextTry {
            case nil: Cell(waiting.place == .new ? "now" : "-", raw: "-")
            case let time?: Cell(time <= now ? "now" : Words.duration(time - now), raw: Words.time(time))
            }
        }

        private func people(_ recipients: [Address]) -> String {
            (recipients.prefix(2).map(\.text) + (recipients.count > 2 ? ["and \(recipients.count - 2) more"] : [])).joined(separator: " ")
        }
    }

    struct Show: HomeCommand {
        static let configuration = CommandConfiguration(abstract: "Shows one message: envelope, what was said at the last try, headers.")

        @Argument(help: "The message's id.")
        var id: String
        @OptionGroup var common: Common

        func run() throws {
            let store = try QueueStore(common.openHome().queue)
            guard let id = QueueID(id), let place = try store.find(id), let waiting = try Waiting.read(store, id, place) else {
                throw Failure("there is no message \(id) in the queue: semail queue list shows those there are")
            }
            let reasons = reasons(store.reason(id))
            let headers = try waiting.headers(store)
            if common.json { document(waiting, reasons, headers) } else { show(waiting, reasons, headers) }
        }

        private struct Reason {
            let recipient, status, text: String
        }

        /// recipient TAB status TAB text, a line each.
        private func reasons(_ file: [UInt8]) -> [Reason] {
            file.split(separator: 10).map { line in
                let fields = line.split(separator: 9, maxSplits: 2, omittingEmptySubsequences: false).map { String(decoding: $0, as: UTF8.self) }
                guard fields.count == 3 else { return Reason(recipient: "", status: "", text: fields.joined(separator: " ")) }
                return Reason(recipient: fields[0], status: fields[1], text: fields[2])
            }
        }

        private func document(_ waiting: Waiting, _ reasons: [Reason], _ headers: [UInt8]) {
            let done = waiting.envelope?.recipients.filter { !$0.isWaiting } ?? []
            Out.document(.object(waiting.members + [
                ("done", .list(done.map { .octets($0.address.bytes) })), ("client", waiting.envelope.map { .octets($0.client) } ?? .null),
                ("is8Bit", .bool(waiting.envelope?.is8Bit ?? false)), ("isSMTPUTF8", .bool(waiting.envelope?.isSMTPUTF8 ?? false)),
                ("reasons", .list(reasons.map { reason in
                    .object([("recipient", .string(reason.recipient)), ("status", .string(reason.status)), ("text", .string(reason.text))])
                })),
                ("headers", .octets(headers)),
            ]))
        }

        private func show(_ waiting: Waiting, _ reasons: [Reason], _ headers: [UInt8]) {
            let now = Clock.seconds()
            var facts = [
                ("id", Cell(waiting.id.text)), ("file", Cell("queue/\(waiting.place.text)/\(waiting.id.text)")),
                ("state", Cell(waiting.shownState)),
                ("received", Cell("\(Words.time(waiting.arrival)), \(Words.duration(waiting.age(now))) ago", raw: Words.time(waiting.arrival))),
                ("size", Cell(Words.size(waiting.size), raw: "\(waiting.size)")),
            ]
            if let time = waiting.nextTry {
                let shown = time <= now ? "now" : "\(Words.time(time)), in \(Words.duration(time - now))"
                facts.append(("next try", Cell(shown, raw: Words.time(time))))
            }
            if let envelope = waiting.envelope {
                facts.append(("client", Cell(envelope.client.isEmpty ? "-" : String(decoding: envelope.client, as: UTF8.self))))
                facts.append(("sender", Cell(waiting.sender)))
                facts += envelope.recipients.map { ($0.isWaiting ? "waiting" : "done", Cell($0.address.text)) }
            }
            facts += reasons.map { ("reason", Cell("\($0.recipient): \($0.status) \($0.text)")) }
            Table.facts(facts)
            Out.line("")
            for line in String(decoding: headers, as: UTF8.self).split(separator: "\n", omittingEmptySubsequences: false).dropLast() {
                Out.line(Out.clean(String(line).replacing("\t", with: "        ")))
            }
        }
    }
}
