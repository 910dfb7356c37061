// Keys for SSH: added and removed one at a time; provision gets the whole list.
import Hummingbird
import Provisioning

enum KeysPage {
    static let most = SSHKeys.most
    private static let mostOctets = 8192

    struct Row: Sendable {
        let name: String
        let fingerprint: String
        let removeLabel: String

        init(_ key: SSHKey, _ words: Words) {
            name = "\(Row.kind(key.type)) · " + (key.comment.isEmpty ? words("keys.unnamed") : key.comment)
            fingerprint = key.fingerprint
            removeLabel = words("keys.removeLabel", key.comment.isEmpty ? key.fingerprint : key.comment)
        }

        /// The name people know it by.
        private static func kind(_ type: String) -> String {
            switch type {
            case "ssh-ed25519": "Ed25519"
            case "ssh-rsa": "RSA"
            default: type.hasPrefix("sk-") ? "FIDO" : "ECDSA"
            }
        }
    }

    @Sendable static func add(_ visit: Visit) async throws -> Response {
        let owner = try visit.person().owner
        let text = visit.form["key"]
        var keys = try visit.portal.register.keys(of: owner)
        func again(_ sentence: String, _ values: String...) async throws -> Response {
            // A private key must not stand on the page once more.
            try await HomePage.show(visit, keyError: visit.words(sentence, values), keyText: sentence == "keys.private" ? "" : text)
        }
        // Two keys pasted at once would become one with a long name.
        guard lines(text).count == 1 else { return try await again(text.contains("PRIVATE KEY") ? "keys.private" : "keys.oneLine") }
        let key: SSHKey
        do throws(ProvisioningError) { key = try SSHKey(text) } catch { return try await again(fault(text, error)) }
        if keys.contains(key) { return try await again("keys.already") }
        if keys.count >= most { return try await again("keys.most", "\(most)") }
        keys.append(key)
        return try await replace(keys, owner, visit)
    }

    @Sendable static func remove(_ visit: Visit) async throws -> Response {
        let owner = try visit.person().owner
        let keys = try visit.portal.register.keys(of: owner)
        let left = keys.filter { $0.fingerprint != visit.form["fingerprint"] }
        // Removed already: by a second click, or in another window.
        guard left.count < keys.count else { return .seeOther("/home#keys") }
        return try await replace(left, owner, visit)
    }

    /// The sentence that helps most, in the person's language.
    private static func fault(_ text: String, _ error: ProvisioningError) -> String {
        if text.contains("PRIVATE KEY") { return "keys.private" }
        if text.utf8.count > mostOctets { return "keys.tooLong" }
        let type = lines(text).first?.split(whereSeparator: \.isWhitespace).first ?? ""
        if !["ssh-ed25519", "ssh-rsa"].contains(type), !["ecdsa-sha2-", "sk-"].contains(where: { type.hasPrefix($0) }) { return "keys.type" }
        return error.text.contains("too short") ? "keys.short" : "keys.broken"
    }

    private static func lines(_ text: String) -> [Substring] { text.split(whereSeparator: \.isNewline).filter { $0.contains { !$0.isWhitespace } } }

    private static func replace(_ keys: [SSHKey], _ owner: String, _ visit: Visit) async throws -> Response {
        .seeOther("/progress/\(try await visit.portal.requests.ask("keys", owner: owner, by: visit.client, keys.map { ("key", $0.line) }))")
    }
}
