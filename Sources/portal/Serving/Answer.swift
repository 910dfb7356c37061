// What a page answers, with the fields that protect it in the browser.
import HTTPTypes
import Hummingbird

extension HTTPField.Name {
    static let permissionsPolicy = HTTPField.Name("Permissions-Policy")!
    static let referrerPolicy = HTTPField.Name("Referrer-Policy")!
    static let frameOptions = HTTPField.Name("X-Frame-Options")!
    static let openerPolicy = HTTPField.Name("Cross-Origin-Opener-Policy")!
    static let resourcePolicy = HTTPField.Name("Cross-Origin-Resource-Policy")!
    static let forwardedFor = HTTPField.Name("X-Forwarded-For")!
    static let fetchSite = HTTPField.Name("Sec-Fetch-Site")!
    static let fragment = HTTPField.Name("X-Fragment")!
}

extension Response {
    /// Only what this portal itself serves is loaded, nothing inline runs, nobody frames it, forms go nowhere else.
    private static let contentPolicy = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; "
        + "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"

    static func page(_ text: String, status: HTTPResponse.Status = .ok) -> Response {
        Response(status: status, headers: [.contentType: "text/html; charset=utf-8"], body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
    }

    static func json(_ text: String) -> Response {
        Response(status: .ok, headers: [.contentType: "application/json"], body: ResponseBody(byteBuffer: ByteBuffer(string: text)))
    }

    /// To another page of ours; the browser asks for it with GET.
    static func seeOther(_ path: String) -> Response { .redirect(to: path, type: .normal) }

    /// What every answer carries. Pages are never kept by the browser: the next at this keyboard may be somebody else.
    mutating func protect() {
        headers[.contentSecurityPolicy] = Response.contentPolicy
        headers[.xContentTypeOptions] = "nosniff"
        headers[.frameOptions] = "DENY"
        headers[.referrerPolicy] = "no-referrer"
        headers[.openerPolicy] = "same-origin"
        headers[.resourcePolicy] = "same-origin"
        headers[.permissionsPolicy] = "camera=(), geolocation=(), microphone=()"
        if headers[.cacheControl] == nil { headers[.cacheControl] = "no-store" }
    }
}

/// JSON of strings and truth values, which is all that our script reads.
enum JSON {
    enum Value { case text(String), flag(Bool) }

    static func object(_ fields: KeyValuePairs<String, Value>) -> String {
        "{" + fields.map { name, value in
            switch value {
            case .text(let text): "\(quoted(name)):\(quoted(text))"
            case .flag(let flag): "\(quoted(name)):\(flag)"
            }
        }.joined(separator: ",") + "}"
    }

    private static func quoted(_ text: String) -> String {
        "\"" + text.unicodeScalars.map { scalar in
            switch scalar {
            case "\"", "\\": "\\\(scalar)"
            // What could end a script or a line elsewhere stands in digits.
            case ..<" ", "<", ">", "&", "\u{2028}", "\u{2029}":
                "\\u" + Hex.text([UInt8(truncatingIfNeeded: scalar.value >> 8), UInt8(truncatingIfNeeded: scalar.value)])
            default: String(scalar)
            }
        }.joined() + "\""
    }
}
