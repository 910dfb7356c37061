// Every path of the portal, for whom it is, and what answers there.
import Hummingbird

enum Routes {
    static func router(_ portal: Portal) -> Router<Arrival> {
        let router = Router(context: Arrival.self, options: [.autoGenerateHeadEndpoints])
        typealias Body = @Sendable (Visit) async throws -> Response
        func get(_ path: RouterPath, _ audience: Audience, _ body: @escaping Body) {
            router.get(path) { request, arrival in await portal.serve(request, arrival, for: audience, body) }
        }
        func post(_ path: RouterPath, _ audience: Audience, _ body: @escaping Body) {
            router.post(path) { request, arrival in await portal.serve(request, arrival, for: audience, body) }
        }
        get("/", .anybody) { .seeOther($0.session == nil ? "/sign-in" : "/home") }
        get("/static/:name", .anybody, StaticPage.show)
        get("/language/:language", .anybody, StaticPage.chooseLanguage)
        get("/sign-in", .anybody, SignInPage.show)
        post("/sign-in", .anybody, SignInPage.signIn)
        post("/sign-out", .person, SignInPage.signOut)
        post("/sign-out-everywhere", .person, SignInPage.signOutEverywhere)

        get("/create", .person, CreatePage.show)
        get("/create/check", .person, CreatePage.check)
        post("/create", .person, CreatePage.create)
        get("/progress/:id", .person, ProgressPage.show)

        get("/home", .person, HomePage.show)
        post("/container", .person, HomePage.changeContainer)
        get("/rebuild", .person, HomePage.askToRebuild)
        post("/keys/add", .person, KeysPage.add)
        post("/keys/remove", .person, KeysPage.remove)
        get("/records", .person, RecordsPage.show)
        post("/check", .person, RecordsPage.checkAgain)

        get("/log", .person, LogPage.show)
        get("/log/:id", .person, LogPage.showMessage)
        post("/log/:id", .person, LogPage.change)
        get("/delete", .person, DeletePage.show)
        post("/delete", .person, DeletePage.delete)
        get("/export/:form", .person, DeletePage.export)

        get("/admin", .administrator, AdminPage.show)
        post("/admin/resize", .administrator, AdminPage.resize)
        post("/admin/suspend", .administrator) { try await AdminPage.change("suspend", $0) }
        post("/admin/resume", .administrator) { try await AdminPage.change("resume", $0) }
        get("/admin/queue", .administrator, QueuePage.show)
        return router
    }
}
