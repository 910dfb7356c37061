// Cookies: read from what a browser sends, written with every protection a browser knows (RFC 6265bis).

struct Cookies: Sendable {
    private let pairs: [(name: Substring, value: Substring)]

    /// The values of all Cookie fields of a request.
    init(_ fields: [String]) {
        pairs = fields.flatMap { $0.split(separator: ";") }.compactMap { part in
            let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard pair.count == 2 else { return nil }
            return (Cookies.trimmed(pair[0]), Cookies.trimmed(pair[1]))
        }
    }

    /// The first of this name: browsers send the one with the longest path first, and ours has `/`.
    subscript(name: String) -> String? { pairs.first { $0.name == name }.map { String($0.value) } }

    private static func trimmed(_ text: Substring) -> Substring {
        var text = text
        while text.first == " " { text.removeFirst() }
        while text.last == " " { text.removeLast() }
        return text
    }
}

/// The names and attributes of the portal's cookies.
struct CookieKind: Sendable {
    /// The cookie goes over TLS only, or to this machine itself. Browsers then also vouch for where it came from (`__Host-`).
    let isSecure: Bool

    var session: String { isSecure ? "__Host-semail-session" : "semail-session" }
    /// Ties the form of signing in to the browser that was given it.
    var visitor: String { isSecure ? "__Host-semail-visitor" : "semail-visitor" }
    var language: String { "semail-language" }

    /// A Set-Cookie field. Without `seconds` it lives as long as the browser; with 0 it is removed.
    func field(_ name: String, _ value: String, seconds: Int? = nil, sameSite: String = "Strict") -> String {
        "\(name)=\(value); Path=/; HttpOnly; SameSite=\(sameSite)" + (isSecure ? "; Secure" : "") + (seconds.map { "; Max-Age=\($0)" } ?? "")
    }
}
