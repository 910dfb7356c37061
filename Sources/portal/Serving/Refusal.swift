// Why something is not done, as a page says it: a status, and the name of a sentence in Words.
import Hummingbird

struct Refusal: Error, Equatable {
    let status: HTTPResponse.Status
    /// The sentence's name in Words.
    let sentence: String
    let values: [String]

    init(_ status: HTTPResponse.Status, _ sentence: String, _ values: String...) {
        self.status = status
        self.sentence = sentence
        self.values = values
    }

    static let notFound = Refusal(.notFound, "refusal.notFound")
    static let forbidden = Refusal(.forbidden, "refusal.forbidden")
    static let malformed = Refusal(.badRequest, "refusal.malformed")
    static let tooLarge = Refusal(.contentTooLarge, "refusal.tooLarge")
    static let tooSlow = Refusal(.requestTimeout, "refusal.tooSlow")
    /// The form is not one that this portal gave to this browser lately.
    static let foreignForm = Refusal(.forbidden, "refusal.foreignForm")
    static let busy = Refusal(.serviceUnavailable, "refusal.busy")
    static let broken = Refusal(.internalServerError, "refusal.broken")
}
