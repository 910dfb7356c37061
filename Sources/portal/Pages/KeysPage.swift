// Keys for SSH: added and removed one at a time; provision gets the whole list.
import Hummingbird
import Provisioning

enum KeysPage {
    static let most = Provisioning.Request.mostKeys

    struct Row: Sendable {
        let name: String
        let fingerprint: String
        let removeLabel: String

        init(_ key: SSHKey, _ words: Words) {
            name = "\(key.kind) · " + (key.comment.isEmpty ? words("keys.unnamed") : key.comment)
            fingerprint = key.fingerprint
            removeLabel = words("keys.removeLabel", key.comment.isEmpty ? key.fingerprint : key.comment)
        }
    }

    @Sendable static func add(_ visit: Visit) async throws -> Response {
        let owner = try visit.person().owner
        let text = visit.form["key"]
        var keys = visit.portal.register.keys(of: owner)
        func again(_ sentence: String, _ values: String...) async throws -> Response {
            // A private key must not stand on the page once more.
            try await HomePage.show(visit, keyError: visit.words(sentence, values), keyText: sentence == "keys.private" ? "" : text)
        }
        do {
            let key = try SSHKey(text)
            if keys.contains(where: { $0.base64 == key.base64 }) { return try await again("keys.already") }
            if keys.count >= most { return try await again("keys.most", "\(most)") }
            keys.append(key)
        } catch let fault as SSHKey.Fault {
            return try await again(fault.sentence)
        }
        return try await replace(keys, owner, visit)
    }

    @Sendable static func remove(_ visit: Visit) async throws -> Response {
        let owner = try visit.person().owner
        let keys = visit.portal.register.keys(of: owner)
        let left = keys.filter { $0.fingerprint != visit.form["fingerprint"] }
        // Removed already: by a second click, or in another window.
        guard left.count < keys.count else { return .seeOther("/home#keys") }
        return try await replace(left, owner, visit)
    }

    private static func replace(_ keys: [SSHKey], _ owner: String, _ visit: Visit) async throws -> Response {
        .seeOther("/progress/\(try await visit.portal.requests.ask("keys", owner: owner, by: visit.client, keys.map { ("key", $0.line) }))")
    }
}
