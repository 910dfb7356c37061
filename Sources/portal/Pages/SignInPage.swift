// Signing in and out.
import Control
import Hummingbird
import Program
import Provisioning

enum SignInPage {
    struct View: Sendable {
        var notice: String?
        var error: String?
        var user = ""
        var then = ""
    }

    @Sendable static func show(_ visit: Visit) async throws -> Response {
        if visit.session != nil { return .seeOther("/home") }
        let notice = ["out": "signIn.out", "everywhere": "signIn.outEverywhere"][visit.query["done"]]
        return answer(visit, View(notice: notice.map { visit.words($0) }, then: LocalPath.checked(visit.query["then"])))
    }

    @Sendable static func signIn(_ visit: Visit) async throws -> Response {
        let user = visit.form["user"], password = visit.form["password"], portal = visit.portal, client = visit.client
        let verdict = try await portal.signingIn.pass(client) {
            try await portal.blocking { check(portal, client, user, password) }
        }
        var view = View(user: user, then: LocalPath.checked(visit.form["then"]))
        switch verdict {
        case .right(let owner, let isAdministrator):
            // The name becomes part of paths: whatever the directory says, it is a mailbox owner's or nobody's.
            guard (try? Name.owner(owner)) == owner else {
                Log.info("refused", .text("client", client), .text("user", user), .text("because", "name"))
                view.error = visit.words("signIn.badName", owner)
                return answer(visit, view, status: .forbidden)
            }
            // Whatever session the browser had is over: it gets a new one, with an id of our making.
            if let old = visit.session { await portal.sessions.end(old.id) }
            let session = await portal.sessions.begin(owner: owner, isAdministrator: isAdministrator)
            Log.info("signed-in", .text("client", client), .text("owner", owner), .text("admin", isAdministrator ? "yes" : "no"))
            var response = Response.seeOther(view.then == "/" ? "/home" : view.then)
            response.headers[values: .setCookie].append(portal.cookies.field(portal.cookies.session, session.id))
            response.headers[values: .setCookie].append(portal.cookies.field(portal.cookies.visitor, "", seconds: 0))
            return response
        case .wrong:
            Log.info("refused", .text("client", client), .text("user", user), .text("because", "password"))
            view.error = visit.words("signIn.wrong")
            return answer(visit, view, status: .forbidden)
        case .slowedDown(let seconds):
            Log.info("refused", .text("client", client), .text("user", user), .text("because", "slow"))
            view.error = visit.words.count("signIn.slow", max(1, (seconds + 59) / 60))
            return answer(visit, view, status: .tooManyRequests)
        case .unavailable(let reason):
            Log.error("authentication", .text("reason", reason))
            Log.info("refused", .text("client", client), .text("user", user), .text("because", "unavailable"))
            view.error = visit.words("signIn.unavailable")
            return answer(visit, view, status: .serviceUnavailable)
        }
    }

    /// Octets of a name and a password together: auth-check takes 512, with their NULs.
    private static let most = 509

    /// Blocks, for as long as the directory takes.
    private static func check(_ portal: Portal, _ client: String, _ user: String, _ password: String) -> PasswordCheck.Verdict {
        let name = Array(user.utf8), secret = Array(password.utf8)
        // A NUL within would move the fields.
        guard !name.isEmpty, !secret.isEmpty, name.count + secret.count <= most, !(name + secret).contains(0) else { return .wrong }
        return PasswordCheck.ask(portal.home, client: Array(client.utf8), user: name, password: secret)
    }

    @Sendable static func signOut(_ visit: Visit) async throws -> Response {
        let session = try visit.person()
        await visit.portal.sessions.end(session.id)
        Log.info("signed-out", .text("client", visit.client), .text("owner", session.owner), .count("sessions", 1))
        return gone(visit, "out")
    }

    @Sendable static func signOutEverywhere(_ visit: Visit) async throws -> Response {
        let owner = try visit.person().owner
        let count = await visit.portal.sessions.endAll(of: owner)
        Log.info("signed-out", .text("client", visit.client), .text("owner", owner), .count("sessions", count))
        return gone(visit, "everywhere")
    }

    private static func gone(_ visit: Visit, _ done: String) -> Response {
        var response = Response.seeOther("/sign-in?done=\(done)")
        response.headers[values: .setCookie].append(visit.portal.cookies.field(visit.portal.cookies.session, "", seconds: 0))
        return response
    }

    private static func answer(_ visit: Visit, _ view: View, status: HTTPResponse.Status = .ok) -> Response {
        visit.page("sign-in", title: visit.words("signIn.title"), view, status: status)
    }
}
