// The arguments, as forty years of callers write them: values attached or not, options among the recipients, and options of other
// programs of this name, which are taken and have no effect.
import Mail

struct Call {
    enum Work { case send, speak, showQueue, tryQueue, nothing }

    var work = Work.send
    var takesRecipientsFromHeader = false
    var dotEnds = true
    /// As written; empty or `<>`: the null sender.
    var sender: String?
    var fullName: String?
    var recipients: [String] = []
    var notify: [UInt8]?
    var returned: Returned?
    var envelopeID: [UInt8]?
    var is7Bit = false
    var isVerbose = false

    /// With a value, attached or the next argument.
    private static let valued = Set("ABCDFLMNORVXbfhorpx")
    /// With a value that is attached or not there.
    private static let maybeValued = Set("deq")
    private static let plain = Set("GIUimnstvc")

    init(_ arguments: [String], name: String) throws(Trouble) {
        if name == "mailq" { work = .showQueue }
        if name == "newaliases" { work = .nothing }
        var rest = arguments[...]
        var onlyRecipients = false
        while let word = rest.popFirst() {
            if onlyRecipients || word.count < 2 || !word.hasPrefix("-") { recipients.append(word); continue }
            if word == "--" { onlyRecipients = true; continue }
            var letters = word.dropFirst()
            while let letter = letters.popFirst() {
                if Call.plain.contains(letter) { try take(letter, ""); continue }
                if Call.maybeValued.contains(letter) { try take(letter, String(letters)); break }
                guard Call.valued.contains(letter) else { throw Trouble("there is no option -\(letter); sendmail --help lists them", .usage) }
                guard let value = letters.isEmpty ? rest.popFirst() : String(letters) else { throw Trouble("option -\(letter) needs a value", .usage) }
                try take(letter, value)
                break
            }
        }
    }

    private mutating func take(_ letter: Character, _ value: String) throws(Trouble) {
        switch letter {
        case "t": takesRecipientsFromHeader = true
        case "i": dotEnds = false
        case "f", "r": sender = value
        case "F": fullName = value
        case "v": isVerbose = true
        case "I": work = .nothing
        case "q": work = .tryQueue
        case "B": is7Bit = value.uppercased() == "7BIT"
        case "o": if value.hasPrefix("i") { dotEnds = false } else if value.hasPrefix("t") { takesRecipientsFromHeader = true }
        case "b": try takeWork(value)
        case "N":
            let words = Array(value.uppercased().utf8)
            guard Notify(words) != nil else { throw Trouble("-N \(value) is neither never, nor success, failure and delay joined by commas", .usage) }
            notify = words
        case "R":
            guard let known = Returned(rawValue: value.uppercased()) else { throw Trouble("-R \(value) is neither full nor hdrs", .usage) }
            returned = known
        case "V":
            let id = XText.encode(Array(value.utf8))
            guard 1...100 ~= id.count else { throw Trouble("-V \(value) is longer than 100 octets", .usage) }
            envelopeID = id
        default: break
        }
    }

    private mutating func takeWork(_ value: String) throws(Trouble) {
        switch value {
        case "m", "a": break
        case "s": work = .speak
        case "p": work = .showQueue
        case "i": work = .nothing
        case "d", "D": throw Trouble("there is no daemon to start here: the services are semail(7)'s", .usage)
        default: throw Trouble("-b\(value) is nothing this sendmail does; sendmail --help lists what it does", .usage)
        }
    }
}
