// Whether the DNS says of somebody's own domain what it should: asked by the program domain-check, one process for each question. Its
// answers are kept for some seconds, so that a page that is loaded again and again asks no more often.
import Program
import Unix

/// One record that a domain should have.
struct DomainRecord: Sendable, Equatable {
    enum State: String, Sendable { case ok, missing, wrong, unknown }

    /// mx, spf, dkim or dmarc.
    let kind: String
    let state: State
    let name: String
    let wanted: String
    let found: String

    /// A line of domain-check.
    init?(_ line: String) {
        let parts = line.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
        guard parts.count >= 4, let state = State(rawValue: parts[1]) else { return nil }
        kind = parts[0]
        self.state = state
        name = parts[2]
        wanted = parts[3]
        found = parts.count > 4 ? parts[4] : ""
    }
}

actor DomainChecks {
    private static let freshMilliseconds = 10_000
    private static let limitMilliseconds = 30_000
    private static let most = 200

    private let program: String?
    private var answers: [String: (records: [DomainRecord], at: Int)] = [:]

    init(program: String?) { self.program = program }

    /// Empty: it cannot be told now. Not exact about who asks at once: two may, and both answers are right.
    nonisolated func records(of domain: String, host: String, signatures: [UInt8], _ portal: Portal) async throws -> [DomainRecord] {
        if let known = await known(domain) { return known }
        guard let program else {
            Log.error("not-checked", .text("domain", domain), .text("reason", "there is no program domain-check beside this one"))
            return []
        }
        let records = try await portal.blocking { try DomainChecks.run(program, host, domain, signatures) }
        await keep(domain, records)
        return records
    }

    private func known(_ domain: String) -> [DomainRecord]? {
        answers[domain].flatMap { Clock.monotonicMilliseconds() - $0.at < DomainChecks.freshMilliseconds ? $0.records : nil }
    }

    private func keep(_ domain: String, _ records: [DomainRecord]) {
        if answers.count >= DomainChecks.most { answers.removeAll() }
        answers[domain] = records.isEmpty ? nil : (records, Clock.monotonicMilliseconds())
    }

    private static func run(_ program: String, _ host: String, _ domain: String, _ signatures: [UInt8]) throws -> [DomainRecord] {
        let input = try Descriptor.pipe(), output = try Descriptor.pipe()
        let environment = Environment(["PATH=/usr/bin:/bin", "LANG=C.UTF-8", "SWIFT_BACKTRACE=enable=no"])
        let pid = try Unix.Process.spawn(program, ["domain-check", host, domain], environment, descriptors: [input.first.raw, output.second.raw, Descriptor.standardError])
        let reading = output.takeFirst()
        // Less than a pipe holds: it does not matter whether it is read.
        let writing = input.takeSecond()
        try? IO.writeAll(writing.raw, Array(signatures.prefix(32768)))
        try? writing.close()
        Socket.setNonblocking(reading.raw)
        let text = try? IO.readWithin(reading.raw, limit: 65536, milliseconds: limitMilliseconds)
        // It has ended, or takes too long; either way nobody waits for more.
        Unix.Process.kill(pid, 9)
        _ = try? Unix.Process.wait(pid)
        return String(decoding: text ?? [], as: UTF8.self).split(whereSeparator: \.isNewline).compactMap { DomainRecord(String($0)) }
    }
}
