// How far a request is: each step with its time, until it is done, refused, or undone.
import Hummingbird
import Provisioning

enum ProgressPage {
    struct View: Sendable {
        struct Step: Sendable {
            let name: String
            let state: String
            let stateName: String
            let time: String?
        }

        struct Link: Sendable {
            let path: String
            let name: String
            /// Our script goes there by itself.
            let isAutomatic: Bool
        }

        let heading: String
        let address: String?
        /// Where our script asks for how it goes on; nil: it is over.
        let poll: String?
        let isOver: Bool
        let steps: [Step]
        let hasSteps: Bool
        let complaint: String?
        let success: String?
        let failure: String?
        let detail: String?
        let next: Link?
    }

    @Sendable static func show(_ visit: Visit) async throws -> Response {
        let session = try visit.person()
        let id = visit.parameter("id")
        // Another person's request is none.
        guard let answer = await visit.portal.requests.answer(id), answer.owner == session.owner || session.isAdministrator else { throw Refusal.notFound }
        let view = view(id, answer, visit.words, isOwn: answer.owner == session.owner)
        if visit.isFragment { return visit.piece("steps-piece", view) }
        return visit.page("progress", title: view.heading, view, refresh: view.isOver ? nil : 2, here: "/home")
    }

    static func view(_ id: String, _ answer: RequestState, _ words: Words, isOwn: Bool) -> View {
        let steps = answer.steps.map { step, state in
            let (state, time): (String, Int?) = switch state {
            case .waiting: ("waiting", nil)
            case .doing: ("doing", nil)
            case .done(let milliseconds): ("done", milliseconds)
            }
            // The same parts are unmade as were made.
            let name = (answer.word == "delete" ? "unstep." : "step.") + step.rawValue
            return View.Step(
                name: Words.knows(name) ? words(name) : step.rawValue, state: state, stateName: words("step." + state),
                time: time.map { words.duration(milliseconds: $0) })
        }
        var success: String?, failure: String?, detail: String?
        switch answer.end {
        case nil: break
        case .done: success = words(["create": "progress.created", "delete": "progress.deleted"][answer.word] ?? "progress.done")
        case .waiting: success = words("progress.waits")
        case .refused(let refusal, let sentence):
            failure = words("code." + refusal.rawValue, answer.address ?? "")
            detail = sentence
        case .failed(let sentence):
            failure = words("progress.failed")
            detail = sentence
        }
        return View(
            heading: heading(answer, words), address: answer.address,
            poll: answer.end == nil ? "/progress/\(id)" : nil, isOver: answer.end != nil, steps: steps, hasSteps: !steps.isEmpty,
            complaint: answer.end == nil ? answer.failures.map { words("progress.again", "\($0.count + 1)", $0.reason) } : nil,
            success: success, failure: failure, detail: detail?.isEmpty == true ? nil : detail, next: next(answer, words, isOwn: isOwn))
    }

    private static func heading(_ answer: RequestState, _ words: Words) -> String {
        let over = "over." + answer.word, running = "do." + answer.word
        if answer.end == .done, Words.knows(over) { return words(over) }
        return words(Words.knows(running) ? running : "do.other")
    }

    private static func next(_ answer: RequestState, _ words: Words, isOwn: Bool) -> View.Link? {
        guard let end = answer.end else { return nil }
        if !isOwn { return View.Link(path: "/admin", name: words("progress.toAdmin"), isAutomatic: end == .done) }
        switch (answer.word, end) {
        case ("create", .waiting), ("check", .waiting): return View.Link(path: "/home#records", name: words("progress.toRecords"), isAutomatic: true)
        case ("create", .refused), ("create", .failed): return View.Link(path: "/create", name: words("progress.toCreate"), isAutomatic: false)
        case ("delete", .done): return View.Link(path: "/create", name: words("progress.toStart"), isAutomatic: false)
        case ("retry", _), ("cancel", _), ("hold", _), ("release", _): return View.Link(path: "/log", name: words("progress.toLog"), isAutomatic: end == .done)
        case ("keys", .done): return View.Link(path: "/home#keys", name: words("progress.toHome"), isAutomatic: true)
        // A new mailbox is looked at before one goes on.
        default: return View.Link(path: "/home", name: words("progress.toHome"), isAutomatic: end == .done && answer.word != "create")
        }
    }
}
