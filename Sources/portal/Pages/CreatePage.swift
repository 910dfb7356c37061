// Choosing an address, and asking for the mailbox.
import Control
import Hummingbird
import Mail

enum CreatePage {
    struct View: Sendable {
        let error: String?
        let isClosed: Bool
        let name: String
        let subdomain: String
        let own: String
        let domain: String
        let hasSubdomains: Bool
        let isDomainOpen: Bool
        let areOwnDomainsAllowed: Bool
        let isSubdomain: Bool
        let isDomain: Bool
        let isOwn: Bool
        let address: String?
        let summary: String
    }

    @Sendable static func show(_ visit: Visit) async throws -> Response {
        let owner = try visit.person().owner
        if try visit.portal.register.entry(of: owner) != nil { return .seeOther("/home") }
        let offer = try visit.portal.settings.offer()
        // What is nearest at hand: the name the directory has.
        let choice = AddressChoice(visit.query.has("name") ? visit.query : Form("name=\(Form.encoded(owner))".utf8) ?? Form(), offer)
        return try answer(visit, choice, offer)
    }

    /// While one types: for our script.
    @Sendable static func check(_ visit: Visit) async throws -> Response {
        let offer = try visit.portal.settings.offer()
        let choice = AddressChoice(visit.query, offer)
        do {
            let address = try choice.address(offer)
            try choice.requireFree(address, visit.portal.register)
            return .json(JSON.object(["free": .flag(true), "text": .text(visit.words("create.free", text(address)))]))
        } catch let fault as AddressChoice.Fault {
            return .json(JSON.object(["free": .flag(false), "text": .text(sentence(fault, choice, offer, visit.words))]))
        }
    }

    @Sendable static func create(_ visit: Visit) async throws -> Response {
        let owner = try visit.person().owner, portal = visit.portal
        if try portal.register.entry(of: owner) != nil { return .seeOther("/home") }
        let offer = try portal.settings.offer()
        let choice = AddressChoice(visit.form, offer)
        do {
            let address = try choice.address(offer)
            try choice.requireFree(address, portal.register)
            let id = try await portal.requests.ask("create", owner: owner, by: visit.client, [("address", text(address))])
            return .seeOther("/progress/\(id)")
        } catch let fault as AddressChoice.Fault {
            return try answer(visit, choice, offer, error: sentence(fault, choice, offer, visit.words))
        }
    }

    private static func text(_ address: Address) -> String { String(decoding: address.bytes, as: UTF8.self) }

    private static func sentence(_ fault: AddressChoice.Fault, _ choice: AddressChoice, _ offer: PortalSettings.Offer, _ words: Words) -> String {
        words("code." + fault.code, (try? choice.address(offer)).map(text) ?? choice.name)
    }

    private static func answer(_ visit: Visit, _ choice: AddressChoice, _ offer: PortalSettings.Offer, error: String? = nil) throws -> Response {
        let words = visit.words
        let size = try visit.portal.settings.text(.volumeSize), kind = try visit.portal.settings.text(.volumes)
        let octets = kind == "directory" ? nil : Setting.volumeSize.number(size)
        let view = View(
            error: error, isClosed: offer.isEmpty, name: choice.name, subdomain: choice.subdomain, own: choice.own, domain: offer.domain,
            hasSubdomains: offer.hasSubdomains, isDomainOpen: offer.isDomainOpen, areOwnDomainsAllowed: offer.areOwnDomainsAllowed,
            isSubdomain: choice.kind == .subdomain, isDomain: choice.kind == .domain, isOwn: choice.kind == .own,
            address: (try? choice.address(offer)).map(text), summary: octets.map { words("create.summary", words.size($0)) } ?? "")
        return visit.page("create", title: words("create.title"), view, status: error == nil ? .ok : .unprocessableContent, here: "/home")
    }
}
