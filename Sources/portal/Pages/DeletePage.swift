// Unmaking a mailbox: what will be lost, all of it to take along, and the address typed once more.
import Hummingbird
import NIOCore
import Program
import Unix

enum DeletePage {
    struct View: Sendable {
        let address: String
        let lostMail: String
        let typeLabel: String
        let error: String?
    }

    @Sendable static func show(_ visit: Visit) async throws -> Response { try await answer(visit, error: nil) }

    @Sendable static func delete(_ visit: Visit) async throws -> Response {
        let owner = try visit.person().owner
        guard let entry = try visit.portal.register.entry(of: owner) else { return .seeOther("/create") }
        let typed = visit.form["address"].filter { !$0.isWhitespace }.lowercased()
        guard typed == entry.address else { return try await answer(visit, error: visit.words("code.wrong-address")) }
        return .seeOther("/progress/\(try await visit.portal.requests.ask("delete", owner: owner, by: visit.client, [("address", entry.address)]))")
    }

    private static func answer(_ visit: Visit, error: String?) async throws -> Response {
        let owner = try visit.person().owner, portal = visit.portal, words = visit.words
        guard let entry = try portal.register.entry(of: owner) else { return .seeOther("/create") }
        let count = entry.place == .making ? MaildirExports.Count("new 0\ncur 0\n") : try await portal.blocking { portal.exports.count(of: owner) }
        let view = View(
            address: entry.address,
            lostMail: count.map { words.count("delete.lostMail", $0.new + $0.read, words.size($0.octets)) } ?? words("delete.lostMailUnknown"),
            typeLabel: words("delete.type", entry.address), error: error)
        return visit.page("delete", title: words("delete.title"), view, status: error == nil ? .ok : .unprocessableContent, here: "/home")
    }

    /// All mail, piece by piece as the service hands it out: however much it is, little of it is in memory.
    @Sendable static func export(_ visit: Visit) async throws -> Response {
        let owner = try visit.person().owner, portal = visit.portal, client = visit.client
        guard let form = MaildirExports.Form(rawValue: visit.parameter("form")), try portal.register.entry(of: owner) != nil else { throw Refusal.notFound }
        try await portal.downloading.enter(owner)
        let download: MaildirExports.Download
        let first: [UInt8]
        do {
            download = try await portal.blocking { try portal.exports.open(form, of: owner) }
            // A service that is not there is found out before the browser is promised a file.
            first = try await portal.blocking { try download.next() }
        } catch {
            await portal.downloading.leave(owner)
            Log.error("not-exported", .text("owner", owner), .text("reason", (error as? SystemError)?.text ?? "\(error)"))
            throw Refusal(.serviceUnavailable, "refusal.noExport")
        }
        Log.info("exported", .text("client", client), .text("owner", owner), .text("form", form.rawValue))
        return Response(
            status: .ok,
            headers: [.contentType: form.contentType, .contentDisposition: "attachment; filename=\"\(owner).\(form.rawValue)\""],
            body: ResponseBody { writer in
                do {
                    var piece = first
                    while !piece.isEmpty {
                        try await writer.write(ByteBuffer(bytes: piece))
                        piece = try await portal.blocking { try download.next() }
                    }
                    await portal.downloading.leave(owner)
                } catch {
                    await portal.downloading.leave(owner)
                    // Not finished in form: the browser sees that it is not whole.
                    throw error
                }
                try await writer.finish(nil)
            })
    }
}
