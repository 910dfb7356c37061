// What all pages share, and the one way in: every request passes `serve`, which finds out who asks, reads what was sent, and turns
// away what was not sent by a form of ours. No page can forget that.
import Control
import Hummingbird
import NIOCore
import NIOPosix
import Program
import Unix

final class Portal: Sendable {
    /// A form is small; a public key is the longest thing in one.
    private static let mostBodyOctets = 65536
    private static let bodySeconds = 20
    /// For what waits on other processes and disks.
    private static let threads = 32

    let home: Home
    let settings: PortalSettings
    let cookies: CookieKind
    let sessions = Sessions()
    let templates: Templates
    let register: Register
    let requests: Requests
    let logs: DeliveryLogs
    let domains: DomainChecks
    let exports: MaildirExports
    /// Bounds what a few people can keep busy.
    let signingIn = Gate(most: 16, mostOfOne: 4)
    let downloading = Gate(most: 8, mostOfOne: 2)
    let reading = Gate(most: 8, mostOfOne: 2)
    private let visitors = Visitors()
    private let believesProxy: Bool
    private let pool: NIOThreadPool

    init(_ home: Home, logs: String, checker: String?, believesProxy: Bool) throws {
        self.home = home
        self.believesProxy = believesProxy
        settings = PortalSettings(home)
        cookies = CookieKind(isSecure: try settings.isSecure())
        templates = try Templates()
        register = Register(home)
        requests = Requests(home)
        self.logs = DeliveryLogs(logs)
        domains = DomainChecks(program: checker)
        exports = MaildirExports(socket: home.run + "/export")
        pool = NIOThreadPool(numberOfThreads: Portal.threads)
        pool.start()
    }

    /// Runs what blocks where it holds nobody up.
    func blocking<Result: Sendable>(_ body: @escaping @Sendable () throws -> Result) async throws -> Result { try await pool.runIfActive(body) }

    func serve(_ request: Request, _ arrival: Arrival, for audience: Audience, _ body: (Visit) async throws -> Response) async -> Response {
        let given = Cookies(request.headers[values: .cookie])
        let isFragment = request.headers[.fragment] != nil
        var session: Session?
        if let id = given[cookies.session], Secret.isOne(id, octets: 32) { session = await sessions.find(id, touching: !isFragment) }
        let visitor = visitors.cookie(given[cookies.visitor])
        let token = session?.token ?? visitors.token(visitor.value)
        let language = Language(cookie: given[cookies.language], accepted: request.headers[.acceptLanguage] ?? "")
        func visit(_ form: Form) -> Visit {
            Visit(
                portal: self, path: request.uri.path, query: Form((request.uri.query ?? "").utf8) ?? Form(), form: form, parameters: arrival.parameters,
                client: client(request, arrival), language: language, session: session, token: token, isFragment: isFragment, cookies: given)
        }
        var response: Response
        do {
            var form = Form()
            if audience != .anybody, session == nil {
                if isFragment { throw Refusal.forbidden }
                response = .seeOther(request.method == .get ? "/sign-in?then=\(Form.encoded(request.uri.path))" : "/sign-in")
            } else {
                if audience == .administrator, session?.isAdministrator != true { throw Refusal.forbidden }
                if request.method == .post {
                    form = try await Portal.form(request)
                    try requireOwnForm(request, form, token)
                }
                response = try await body(visit(form))
            }
        } catch {
            response = refused(error, visit(Form()))
        }
        if session == nil, visitor.isNew { response.headers[values: .setCookie].append(cookies.field(cookies.visitor, visitor.value)) }
        response.protect()
        return response
    }

    private func refused(_ error: any Error, _ visit: Visit) -> Response {
        if let refusal = error as? Refusal { return RefusalPage.show(refusal, visit) }
        Log.error("broken", .text("path", visit.path), .text("reason", (error as? SystemError)?.text ?? (error as? ControlError)?.text ?? "\(error)"))
        return RefusalPage.show(.broken, visit)
    }

    // MARK: Who asks, and with what

    /// Of a web server on this host it may be known for whom it asks: the last address is the one it has seen itself.
    private func client(_ request: Request, _ arrival: Arrival) -> String {
        let isLocal = arrival.peer.hasPrefix("127.") || arrival.peer == "::1" || arrival.peer == "::ffff:127.0.0.1"
        guard believesProxy, isLocal, let last = request.headers[values: .forwardedFor].last?.split(separator: ",").last else { return arrival.peer }
        let address = String(last.filter { $0 != " " })
        return Endpoint.isAddress(address) ? address : arrival.peer
    }

    private static func form(_ request: Request) async throws -> Form {
        let type = (request.headers[.contentType] ?? "").prefix { $0 != ";" }.lowercased()
        guard type == "application/x-www-form-urlencoded" else { throw Refusal.malformed }
        if let length = request.headers[.contentLength].flatMap({ Int($0) }), length > mostBodyOctets { throw Refusal.tooLarge }
        let body = try await withThrowingTaskGroup(of: ByteBuffer.self) { group in
            group.addTask {
                do { return try await request.body.collect(upTo: mostBodyOctets) } catch is NIOTooManyBytesError { throw Refusal.tooLarge }
            }
            group.addTask {
                try await Task.sleep(for: .seconds(bodySeconds))
                throw Refusal.tooSlow
            }
            defer { group.cancelAll() }
            return try await group.next() ?? ByteBuffer()
        }
        guard let form = Form(body.readableBytesView) else { throw Refusal.malformed }
        return form
    }

    /// A browser that says the form comes from elsewhere is believed; what says nothing must know the token.
    private func requireOwnForm(_ request: Request, _ form: Form, _ token: String) throws(Refusal) {
        if let site = request.headers[.fetchSite], site != "same-origin", site != "none" { throw .foreignForm }
        guard Secret.matches(form["token"], token) else { throw .foreignForm }
    }
}
