// The engine of containers: HTTP over its unix socket (the API of Docker Engine, which Podman serves too), spoken by curl. The paths
// have no version: every engine answers those in the newest one it knows, and refuses old numbers some day.
import FoundationEssentials
import Unix

struct EngineSocket: Sendable {
    let path: String

    struct Answer {
        let status: Int
        let body: String

        var isDone: Bool { 200..<300 ~= status }
        /// What the engine says when it refuses.
        var message: String {
            struct Refusal: Decodable { let message: String }
            let said = (try? JSONDecoder().decode(Refusal.self, from: Data(body.utf8)))?.message ?? body
            return said.split(whereSeparator: \.isNewline).joined(separator: " ")
        }

        func decoded<Form: Decodable>(_ form: Form.Type) throws -> Form {
            let decoder = JSONDecoder()
            // The engine's names begin with capitals, ours do not.
            decoder.keyDecodingStrategy = .custom { path in
                let name = path.last!.stringValue
                return Key(stringValue: name.prefix(1).lowercased() + name.dropFirst())
            }
            do { return try decoder.decode(form, from: Data(body.utf8)) } catch {
                throw ProvisioningError("the engine of containers gave an answer that makes no sense to me (\(error))")
            }
        }
    }

    private struct Key: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    func call(_ method: String, _ target: String, _ form: EngineForm? = nil, limitSeconds: Int = 60) throws -> Answer {
        var arguments = ["--request", method]
        if method == "POST" { arguments += ["--header", "Content-Type: application/json", "--data-binary", "@-"] }
        let answers = try run(arguments + [EngineSocket.host + target], input: form?.encoded ?? [], seconds: limitSeconds)
        guard let answer = answers.first else { throw ProvisioningError("the engine of containers said nothing at \(path)") }
        return answer
    }

    /// Several things at once, over one connection.
    func get(_ targets: [String]) throws -> [Answer] {
        if targets.isEmpty { return [] }
        let answers = try run(["--config", "-"], input: Array(targets.map { "url = \"\(EngineSocket.host)\($0)\"\n" }.joined().utf8), seconds: 60)
        guard answers.count == targets.count else { throw ProvisioningError("the engine of containers stopped in the middle of its answers at \(path)") }
        return answers
    }

    /// The name is never looked up.
    private static let host = "http://engine"
    /// Ends a body, and then its status: no JSON has it.
    private static let mark: Character = "\u{1e}"

    private func run(_ arguments: [String], input: [UInt8], seconds: Int) throws -> [Answer] {
        // -q: nobody's .curlrc.
        let result = try Tool("curl").run(
            ["-q", "--silent", "--show-error", "--globoff", "--noproxy", "*", "--unix-socket", path, "--max-time", "\(seconds)", "--write-out", "\(EngineSocket.mark)%{http_code}\(EngineSocket.mark)"]
                + arguments,
            input: input, limitSeconds: seconds + 10, outputOctets: 1 << 26)
        guard result.isDone else { throw ProvisioningError(complaint(result)) }
        let parts = result.output.split(separator: EngineSocket.mark, omittingEmptySubsequences: false)
        return stride(from: 0, to: parts.count - 1, by: 2).map { Answer(status: Int(parts[$0 + 1]) ?? 0, body: String(parts[$0])) }
    }

    private func complaint(_ result: Tool.Result) -> String {
        switch result.status {
        case 7: "the engine of containers does not run: nobody answers at \(path); start it (service docker start, or systemctl start docker)"
        case 28: "the engine of containers did not answer in time at \(path): look at its log"
        default: "the engine of containers broke off at \(path): \(result.lastWords)"
        }
    }
}

/// A body that is sent: JSON as it is written down, so that it reads as in the engine's own manual.
indirect enum EngineForm: Encodable, ExpressibleByDictionaryLiteral, ExpressibleByArrayLiteral, ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral {
    case text(String)
    case number(Int)
    case truth(Bool)
    case list([EngineForm])
    case object([String: EngineForm])

    init(dictionaryLiteral members: (String, EngineForm)...) { self = .object(Dictionary(uniqueKeysWithValues: members)) }
    init(arrayLiteral elements: EngineForm...) { self = .list(elements) }
    init(stringLiteral text: String) { self = .text(text) }
    init(integerLiteral number: Int) { self = .number(number) }
    init(booleanLiteral truth: Bool) { self = .truth(truth) }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        switch self {
        case .text(let text): try container.encode(text)
        case .number(let number): try container.encode(number)
        case .truth(let truth): try container.encode(truth)
        case .list(let elements): try container.encode(elements)
        case .object(let members): try container.encode(members)
        }
    }

    /// Text, numbers and lists of them: nothing in it can fail.
    var encoded: [UInt8] { Array((try? JSONEncoder().encode(self)) ?? Data()) }
}
