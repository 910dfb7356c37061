// One request, as a page sees it: who asks, in which language, with what. Made by Portal.serve, which has checked all of it.
import HTTPTypes
import Hummingbird
import NIOCore

/// A request as Hummingbird hands it over, and where it came from.
struct Arrival: RequestContext {
    var coreContext: CoreRequestContextStorage
    /// The other end of the connection, by the kernel's word; empty: a unix socket.
    let peer: String

    init(source: ApplicationRequestContextSource) {
        coreContext = .init(source: source)
        peer = source.channel.remoteAddress?.ipAddress ?? ""
    }
}

/// For whom a page is.
enum Audience: Sendable {
    case anybody
    /// Who has signed in; others are sent to the page for that.
    case person
    case administrator
}

struct Visit: Sendable {
    let portal: Portal
    /// The path and what stands behind the question mark.
    let path: String
    let query: Form
    /// What was sent with a POST.
    let form: Form
    /// The parts of the path that a route names.
    let parameters: Parameters
    /// The address whose guesses are counted.
    let client: String
    let language: Language
    /// nil: a stranger.
    let session: Session?
    /// What a form of ours must carry.
    let token: String
    /// Asked for by our script, which wants a piece of a page.
    let isFragment: Bool
    let cookies: Cookies

    var words: Words { Words(language) }

    /// Of a page for persons: who it is.
    func person() throws(Refusal) -> Session {
        guard let session else { throw .forbidden }
        return session
    }

    func parameter(_ name: String) -> String { parameters.get(name) ?? "" }
}
