// What Courier asks, as octets: pure, no I/O. Both forms of it: by the module authpipe, one request after the other on a pipe, and by
// libcourierauth on authdaemond's socket, where lines NAME=VALUE come first. All of it was typed by strangers, and has bounds.

/// One request.
enum Request: Equatable {
    /// Is this the right password? `client`: where the person is, if Courier says so.
    case login(service: [UInt8], user: [UInt8], password: [UInt8], client: [UInt8])
    /// Where is the mail of this user, who has shown before who they are?
    case find(service: [UInt8], user: [UInt8])
    /// Which users are there?
    case list
    /// Something that is understood and that nobody gets here: other passwords, ways to sign in without sending one.
    case refused
    /// Not of this protocol: what follows cannot be told from the rest of it.
    case malformed
}

/// Takes octets as they come, and says which requests they are.
struct RequestReader {
    /// What Courier itself has room for.
    static let most = 8192
    static let mostName = 512
    static let mostPassword = 512
    static let mostSettings = 16

    private var waiting: [UInt8] = []

    mutating func take(_ bytes: [UInt8]) { waiting += bytes }

    /// Whether the octets so far end in the middle of a request.
    var isInMiddle: Bool { !waiting.isEmpty }

    /// nil: there is more to come.
    mutating func next() -> Request? {
        var place = 0
        var client: [UInt8] = []
        var settings = 0
        while true {
            guard let end = waiting[place...].firstIndex(of: 0x0a) else { return waiting.count - place > RequestReader.most ? .malformed : nil }
            let line = Array(waiting[place..<end])
            place = end + 1
            if line.count > RequestReader.most || place > RequestReader.most { return .malformed }
            if let value = RequestReader.setting(line) {
                if line.starts(with: Array("TCPREMOTEIP=".utf8)) { client = value }
                settings += 1
                if settings > RequestReader.mostSettings { return .malformed }
                continue
            }
            guard let (request, used) = request(line, from: place, client) else { return nil }
            waiting.removeFirst(used)
            return request
        }
    }

    /// The value of a line NAME=VALUE: capitals up to the sign. A request has a space or nothing there.
    private static func setting(_ line: [UInt8]) -> [UInt8]? {
        guard let sign = line.firstIndex(of: 0x3d), sign > 0, line[..<sign].allSatisfy({ 0x41...0x5a ~= $0 || $0 == 0x5f }) else { return nil }
        let value = Array(line[(sign + 1)...])
        // More than an address is long, or not to be printed: of no use.
        return value.count <= 64 && value.allSatisfy { 0x21...0x7e ~= $0 } ? value : []
    }

    /// The request that begins with this line, and how many octets it has in all; nil: not all of it is there.
    private func request(_ line: [UInt8], from place: Int, _ client: [UInt8]) -> (Request, used: Int)? {
        let words = line.split(separator: 0x20, omittingEmptySubsequences: true).map { Array($0) }
        switch words.first.map({ String(decoding: $0, as: UTF8.self) }) {
        case "AUTH":
            guard words.count == 2, let count = RequestReader.number(words[1]) else { return (.malformed, waiting.count) }
            guard waiting.count - place >= count else { return nil }
            return (RequestReader.login(Array(waiting[place..<place + count]), client), place + count)
        case "PRE":
            // PRE MODULE SERVICE USER; a user's name may have spaces in it.
            let parts = line.split(separator: 0x20, maxSplits: 3, omittingEmptySubsequences: true).map { Array($0) }
            guard parts.count == 4, RequestReader.isName(parts[2]), RequestReader.isName(parts[3]) else { return (.refused, place) }
            return (.find(service: parts[2], user: parts[3]), place)
        case "PASSWD": return (.refused, place)
        case "ENUMERATE" where words.count == 1: return (.list, place)
        default: return (.malformed, waiting.count)
        }
    }

    /// SERVICE LF TYPE LF and what the type wants; for `login`, USER LF PASSWORD LF.
    private static func login(_ data: [UInt8], _ client: [UInt8]) -> Request {
        let lines = data.split(separator: 0x0a, omittingEmptySubsequences: false).map { Array($0) }
        guard lines.count == 4 || lines.count == 5 && lines[4].isEmpty, String(decoding: lines[1], as: UTF8.self) == "login", isName(lines[0]), isName(lines[2]),
              lines[3].count <= mostPassword, !lines[3].contains(0) else { return .refused }
        return .login(service: lines[0], user: lines[2], password: lines[3], client: client)
    }

    private static func isName(_ bytes: [UInt8]) -> Bool { 1...mostName ~= bytes.count && bytes.allSatisfy { $0 >= 0x20 && $0 != 0x7f } }

    private static func number(_ digits: [UInt8]) -> Int? {
        guard 1...5 ~= digits.count, digits.allSatisfy({ 0x30...0x39 ~= $0 }), let number = Int(String(decoding: digits, as: UTF8.self)), number <= most else { return nil }
        return number
    }
}
