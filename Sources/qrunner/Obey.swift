// What the admin may ask of a running qrunner.
import Program
import Queue
import Unix

extension Runner {
    /// `flush`, or `hold|release|retry|delete ID`; the answer is `ok` or a sentence.
    func obey(_ words: [String]) -> String {
        if words == ["flush"] {
            tryAll()
            return "ok"
        }
        guard words.count == 2, let id = QueueID(words[1]), let order = QueueOrder(rawValue: words[0]) else { return "I do not understand that" }
        if active[id] != nil { return "\(id.text) is being delivered just now; try again in a moment" }
        do throws(SystemError) {
            switch try order.apply(to: id, in: store) {
            case .missing: return "there is no message \(id.text) in the queue"
            case .unchanged(let sentence): return sentence
            case .done(let place):
                Log.info("ordered", .text("id", id.text), .text("order", order.rawValue))
                if let place { take(id, place) }
                return "ok"
            }
        } catch { return error.text }
    }
}
