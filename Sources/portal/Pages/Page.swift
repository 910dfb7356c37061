// A page: what is around it, and what is its own.
import Hummingbird

struct Page: Sendable {
    struct Link: Sendable {
        let path: String
        let name: String
        let isHere: Bool
    }

    let t: Words
    let title: String
    let language: String
    let otherLanguage: String
    let otherLanguageName: String
    /// Where the switch of languages leads back to.
    let back: String
    /// nil: nobody has signed in.
    let person: String?
    let links: [Link]
    let token: String
    let assets: String
    /// Without our script, the page is loaded again after so many seconds.
    let refresh: Int?
    let view: any Sendable
}

extension Visit {
    func page(_ template: String, title: String, _ view: some Sendable, status: HTTPResponse.Status = .ok, refresh: Int? = nil, here: String? = nil) -> Response {
        .page(portal.templates.render(template, frame(title, view, refresh: refresh, here: here)), status: status)
    }

    /// A piece of a page, for our script.
    func piece(_ template: String, _ view: some Sendable) -> Response {
        .page(portal.templates.render(template, Pieced(t: words, token: token, view: view)))
    }

    private func frame(_ title: String, _ view: some Sendable, refresh: Int?, here: String?) -> Page {
        let words = self.words
        var links: [Page.Link] = []
        if let session {
            let here = here ?? path
            links = [("/home", "frame.home"), ("/log", "frame.log")].map { Page.Link(path: $0.0, name: words($0.1), isHere: here == $0.0) }
            if session.isAdministrator { links.append(Page.Link(path: "/admin", name: words("frame.admin"), isHere: here.hasPrefix("/admin"))) }
        }
        return Page(
            t: words, title: title, language: language.rawValue, otherLanguage: language.other.rawValue, otherLanguageName: language.other.name,
            back: LocalPath.checked(path), person: session?.owner, links: links, token: token, assets: Asset.mark, refresh: refresh, view: view)
    }
}

/// What a template sees that is rendered without a page around it.
struct Pieced: Sendable {
    let t: Words
    let token: String
    let view: any Sendable
}
