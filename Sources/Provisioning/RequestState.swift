// How far a request is: the file that answers it, replaced whole at every change, so that the portal, and a provision that is started
// after a kill, read what was true last. Lines of words with tabs between them.
import Control
import Mail

public struct RequestState: Equatable, Sendable {
    public enum StepState: Equatable, Sendable {
        case waiting, doing
        case done(milliseconds: Int)
    }

    public enum End: Equatable, Sendable {
        case done
        /// Made, and waits for the MX.
        case waiting
        /// It cannot be.
        case refused(Refusal, String)
        /// It did not succeed however often it was tried, and is undone.
        case failed(String)
    }

    public let word: String
    public let owner: String
    /// Of creation and deletion.
    public let address: String?
    public var steps: [(step: Step, state: StepState)] = []
    /// How often it failed so far, and why last.
    public var failures: (count: Int, reason: String)?
    public var end: End?

    public init(_ request: Request) {
        word = request.word
        owner = request.owner
        switch request.wanted {
        case .create(let address, _):
            self.address = address.text
            steps = Step.allCases.map { ($0, .waiting) }
        case .delete(let address):
            self.address = address.text
            steps = Step.allCases.reversed().map { ($0, .waiting) }
        default: address = nil
        }
    }

    public static func == (left: RequestState, right: RequestState) -> Bool { left.encoded == right.encoded }

    public mutating func note(_ step: Step, _ phase: Making.Phase) {
        guard let index = steps.firstIndex(where: { $0.step == step }) else { return }
        switch phase {
        case .begins: steps[index].state = .doing
        case .done(let milliseconds): steps[index].state = .done(milliseconds: milliseconds)
        }
    }

    public var encoded: [UInt8] {
        var lines = [["request", word], ["owner", owner]]
        if let address { lines.append(["address", address]) }
        for (step, state) in steps {
            switch state {
            case .waiting: lines.append(["step", step.rawValue, "waiting"])
            case .doing: lines.append(["step", step.rawValue, "doing"])
            case .done(let milliseconds): lines.append(["step", step.rawValue, "done", String(milliseconds)])
            }
        }
        if let failures { lines.append(["try", String(failures.count), failures.reason]) }
        switch end {
        case nil: break
        case .done: lines.append(["end", "done"])
        case .waiting: lines.append(["end", "waiting"])
        case .refused(let refusal, let sentence): lines.append(["end", "refused", refusal.rawValue, sentence])
        case .failed(let sentence): lines.append(["end", "failed", sentence])
        }
        let text = lines.map { $0.map(RequestState.oneLine).joined(separator: "\t") + "\n" }.joined()
        return Array(text.utf8)
    }

    /// nil: it is none.
    public init?(_ bytes: [UInt8]) {
        var word: String?, owner: String?, address: String?
        var steps: [(Step, StepState)] = [], failures: (Int, String)?, end: End?
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
            let words = line.split(separator: "\t", omittingEmptySubsequences: false).map(String.init)
            switch (words[0], words.count) {
            case ("request", 2): word = words[1]
            case ("owner", 2): owner = words[1]
            case ("address", 2): address = words[1]
            case ("step", 3...4):
                guard let step = Step(rawValue: words[1]) else { return nil }
                switch words[2] {
                case "waiting": steps.append((step, .waiting))
                case "doing": steps.append((step, .doing))
                case "done": steps.append((step, .done(milliseconds: words.count > 3 ? Int(words[3]) ?? 0 : 0)))
                default: return nil
                }
            case ("try", 3):
                guard let count = Int(words[1]) else { return nil }
                failures = (count, words[2])
            case ("end", 2) where words[1] == "done": end = .done
            case ("end", 2) where words[1] == "waiting": end = .waiting
            case ("end", 3) where words[1] == "failed": end = .failed(words[2])
            case ("end", 4) where words[1] == "refused":
                guard let refusal = Refusal(rawValue: words[2]) else { return nil }
                end = .refused(refusal, words[3])
            default: return nil
            }
        }
        guard let word, let owner else { return nil }
        self.word = word
        self.owner = owner
        self.address = address
        self.steps = steps
        self.failures = failures
        self.end = end
    }

    private static func oneLine(_ text: String) -> String { String(text.map { $0.isNewline || $0 == "\t" ? " " : $0 }.prefix(1000)) }
}
