// What the portal asks of provision: one small file each in requests/new, which provision takes up, and an answer in requests/state, which
// the portal only reads. See semail(7).
import Control
import Program
import Provisioning
import Unix

struct Requests: Sendable {
    private static let idOctets = 16

    private let home: Home
    private let recent = Recent()

    init(_ home: Home) { self.home = home }

    private var new: String { home.requests + "/new" }
    private var state: String { home.requests + "/state" }

    /// Writes a request and returns its id. `fields` are `key value`, in order; the first is `do`.
    func ask(_ order: String, owner: String, by client: String, _ fields: [(key: String, value: String)] = []) async throws -> String {
        var text = "do \(order)\nowner \(owner)\n"
        for (key, value) in fields {
            // A line end within a value would be another line.
            guard !value.contains(where: { $0.isNewline || $0 == "\0" }) else { throw Refusal.malformed }
            text += "\(key) \(value)\n"
        }
        guard text.utf8.count < Provisioning.Request.limit else { throw Refusal.tooLarge }
        let id = Secret.make(octets: Requests.idOctets)
        do throws(SystemError) {
            // The directory cannot be listed, by us neither.
            let directory = try Directory(searching: new)
            let file = try directory.create(".\(id).tmp", mode: 0o600)
            try IO.writeAll(file.raw, Array(text.utf8))
            try IO.flush(file.raw)
            try file.close()
            try directory.rename(".\(id).tmp", to: directory, as: id)
        } catch {
            try? Directory(searching: new).remove(".\(id).tmp")
            Log.error("not-requested", .text("do", order), .text("owner", owner), .text("reason", error.text))
            throw Refusal(.serviceUnavailable, "refusal.notRequested")
        }
        await recent.remember(id, Array(text.utf8))
        Log.info("requested", .text("request", id), .text("do", order), .text("owner", owner), .text("client", client))
        return id
    }

    /// What has become of a request. nil: there is none of that id, or it is a day old.
    func answer(_ id: String) async -> RequestState? {
        guard Provisioning.Request.isID(id) else { return nil }
        if let bytes = try? Path.contents(state + "/" + id, limit: 65536), let answer = RequestState(bytes) { return answer }
        // Not taken up yet: what we wrote ourselves can be read.
        // And where it is between being taken up and being answered, nobody but root can look.
        var bytes = try? Directory(searching: new).contents(id, limit: Provisioning.Request.limit)
        if bytes == nil { bytes = await recent.find(id) }
        return bytes.flatMap { try? Provisioning.Request($0) }.map { RequestState($0) }
    }

    /// The newest request by which a person's mailbox is made or unmade.
    func newest(of owner: String) -> (id: String, answer: RequestState)? {
        guard let directory = try? Directory(state), let names = try? directory.names() else { return nil }
        var newest: (id: String, answer: RequestState, changed: Int)?
        for name in names where Provisioning.Request.isID(name) {
            guard let changed = (try? directory.status(name))?.changedNanoseconds, changed > newest?.changed ?? 0, let answer = (try? directory.contents(name, limit: 65536)).flatMap(RequestState.init),
                  answer.owner == owner, ["create", "delete"].contains(answer.word) else { continue }
            newest = (name, answer, changed)
        }
        return newest.map { ($0.id, $0.answer) }
    }
}

/// What was asked for within the last minutes.
private actor Recent {
    private static let most = 500
    private static let keptMilliseconds = 600_000

    private var asked: [(id: String, text: [UInt8], at: Int)] = []

    func remember(_ id: String, _ text: [UInt8]) {
        let now = Clock.monotonicMilliseconds()
        asked.removeAll { now - $0.at > Recent.keptMilliseconds }
        if asked.count >= Recent.most { asked.removeFirst() }
        asked.append((id, text, now))
    }

    func find(_ id: String) -> [UInt8]? { asked.first { $0.id == id }?.text }
}
