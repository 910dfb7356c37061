// The style, the script and the picture; and the switch of languages.
import Hummingbird

enum StaticPage {
    @Sendable static func show(_ visit: Visit) throws -> Response {
        guard let asset = Asset.all.first(where: { $0.name == visit.parameter("name") }) else { throw Refusal.notFound }
        // A URL without the mark may be an older page's.
        let isCurrent = visit.query.has(Asset.mark)
        return Response(
            status: .ok, headers: [.contentType: asset.type, .cacheControl: isCurrent ? "public, max-age=31536000, immutable" : "no-cache"],
            body: ResponseBody(byteBuffer: ByteBuffer(bytes: asset.bytes)))
    }

    @Sendable static func chooseLanguage(_ visit: Visit) throws -> Response {
        guard let language = Language(rawValue: visit.parameter("language")) else { throw Refusal.notFound }
        let portal = visit.portal
        var response = Response.seeOther(LocalPath.checked(visit.query["back"]))
        response.headers[values: .setCookie].append(portal.cookies.field(portal.cookies.language, language.rawValue, seconds: 365 * 86400, sameSite: "Lax"))
        return response
    }
}

enum RefusalPage {
    struct View: Sendable {
        let heading: String
        let text: String
    }

    static func show(_ refusal: Refusal, _ visit: Visit) -> Response {
        let heading = visit.words(refusal.status == .notFound ? "refusal.notFoundTitle" : "refusal.title")
        let text = visit.words(refusal.sentence, refusal.values)
        if visit.isFragment { return .page("", status: refusal.status) }
        return visit.page("refusal", title: heading, View(heading: heading, text: text), status: refusal.status)
    }
}
