// Through a Maildir and its folders, of either kind: `.Folder` (Maildir++) and `Folder/Inner`. Readers and deliveries go on meanwhile:
// what is renamed under us is found again, what is gone is left out, and what moved from new to cur is told once.
import Unix

/// What was met.
struct Total {
    var messages = 0
    var octets = 0
    /// Links, FIFOs, devices, files that cannot be read, and what lies too deep.
    var skipped = 0
}

/// What is done with what is met. A directory comes before what is in it.
protocol Visitor {
    mutating func visit(directory path: [UInt8], modified: Int) throws
    /// A message; `folder` is empty for the inbox. Returns its octets.
    mutating func visit(message: Message, _ file: borrowing Descriptor) throws -> Int
    /// A message that need not be opened: false if it must.
    mutating func takes(unopened message: Message) -> Bool
    /// Another file: what mail readers keep there.
    mutating func visit(file: borrowing Descriptor, path: [UInt8]) throws
}

struct Message {
    /// Folders with slashes between them.
    let folder: [UInt8]
    /// Below the Maildir: `.Folder/cur/NAME`.
    let path: [UInt8]
    let name: [UInt8]
    let isNew: Bool

    /// The name without its flags: what a message keeps for ever.
    var base: ArraySlice<UInt8> { name.prefix { $0 != 0x3a } }
    /// `S`, `R`, `F`, `T`, `D` (the letters behind `:2,`).
    var flags: ArraySlice<UInt8> {
        let info = name.dropFirst(base.count)
        return info.starts(with: Array(":2,".utf8)) ? info.dropFirst(3) : []
    }
    /// The seconds since 1970 that the name begins with; nil: it does not.
    var seconds: Int? { Message.number(name.prefix { $0 != 0x2e }) }
    /// `,S=4711`; nil: the name does not tell.
    var octets: Int? {
        let base = Array(base)
        guard let place = base.indices.first(where: { base[$0...].starts(with: Array(",S=".utf8)) }) else { return nil }
        return Message.number(base[(place + 3)...].prefix { 0x30...0x39 ~= $0 })
    }

    private static func number(_ digits: ArraySlice<UInt8>) -> Int? {
        guard 1...15 ~= digits.count, digits.allSatisfy({ 0x30...0x39 ~= $0 }) else { return nil }
        return digits.reduce(0) { $0 * 10 + Int($1 - 0x30) }
    }
}

struct Walk {
    private static let deepest = 12
    /// Names that are held at once: each is 255 octets at most. They come sorted as far as that reaches, and so by time.
    private static let batch = 4096
    /// Messages of a folder that are remembered, by a number each.
    private static let mostRemembered = 1 << 18
    private static let mostPasses = 6

    private(set) var total = Total()

    mutating func run(_ maildir: consuming Directory, _ visitor: inout some Visitor) throws {
        try folder(maildir, path: [], folder: [], depth: 0, &visitor)
    }

    private mutating func folder(_ directory: consuming Directory, path: [UInt8], folder name: [UInt8], depth: Int, _ visitor: inout some Visitor) throws {
        try visitor.visit(directory: path, modified: (try? IO.status(directory.descriptor.raw).modified) ?? 0)
        // Told already: a message moves from new to cur while we are at it, and gets other flags.
        var seen: Set<Int> = []
        for inner in ["tmp", "new", "cur"] {
            guard let messages = try? directory.directory(inner) else { continue }
            let place = path + Array((inner + "/").utf8)
            try visitor.visit(directory: place, modified: (try? IO.status(messages.descriptor.raw).modified) ?? 0)
            // What is in tmp is no message yet.
            if inner != "tmp" { try self.messages(messages, place, name, isNew: inner == "new", &seen, &visitor) }
        }
        let list = try directory.entries()
        while case let batch = Walk.batch(list), !batch.isEmpty {
            for (entry, kind) in batch where ![Array("tmp".utf8), Array("new".utf8), Array("cur".utf8)].contains(entry) {
                switch Walk.kind(kind, entry, in: directory) {
                case .directory where depth < Walk.deepest:
                    guard let inner = try? directory.directory(named: entry) else { total.skipped += 1; continue }
                    let plain = depth == 0 && entry.first == 0x2e ? Array(entry.dropFirst()) : entry
                    try folder(inner, path: path + entry + [0x2f], folder: name.isEmpty ? plain : name + [0x2f] + plain, depth: depth + 1, &visitor)
                case .file:
                    guard let file = (try? directory.file(named: entry)) ?? nil else { total.skipped += 1; continue }
                    try visitor.visit(file: file, path: path + entry)
                default: total.skipped += 1
                }
            }
        }
    }

    private mutating func messages(
        _ directory: borrowing Directory, _ place: [UInt8], _ folder: [UInt8], isNew: Bool, _ seen: inout Set<Int>, _ visitor: inout some Visitor
    ) throws {
        // A directory whose names change while it is listed may show one twice, or not at all: it is listed again until nothing is new.
        for pass in 0..<Walk.mostPasses {
            var isComplete = true
            let list = try directory.entries()
            while case let batch = Walk.batch(list), !batch.isEmpty {
                for (name, kind) in batch {
                    let message = Message(folder: folder, path: place + name, name: name, isNew: isNew)
                    let number = message.base.hashValue
                    if seen.contains(number) { continue }
                    switch Walk.kind(kind, name, in: directory) {
                    case .file: break
                    case .unknown: continue
                    default:
                        if pass == 0 { total.skipped += 1 }
                        continue
                    }
                    switch try self.message(message, in: directory, &visitor) {
                    case .told: if seen.count < Walk.mostRemembered { seen.insert(number) }
                    // Gone, or renamed, for a reader has set a flag.
                    case .gone: break
                    case .unreadable:
                        if pass == 0 { total.skipped += 1 }
                        continue
                    }
                    isComplete = false
                }
            }
            // Of those that are not remembered, nobody could tell whether they are new.
            if isComplete || seen.count == Walk.mostRemembered { break }
        }
    }

    private enum Told { case told, gone, unreadable }

    private mutating func message(_ message: Message, in directory: borrowing Directory, _ visitor: inout some Visitor) throws -> Told {
        if visitor.takes(unopened: message) {
            total.messages += 1
            total.octets += message.octets ?? 0
            return .told
        }
        let file: Descriptor
        do throws(SystemError) {
            guard let opened = try directory.file(named: message.name) else { return .unreadable }
            file = opened
        } catch { return error.isMissing ? .gone : .unreadable }
        total.octets += try visitor.visit(message: message, file)
        total.messages += 1
        return .told
    }

    private static func batch(_ list: EntryList) -> [(name: [UInt8], kind: EntryList.Kind)] {
        var batch: [(name: [UInt8], kind: EntryList.Kind)] = []
        while batch.count < Walk.batch, let entry = list.next() { batch.append(entry) }
        return batch.sorted { $0.name.lexicographicallyPrecedes($1.name) }
    }

    /// What the list did not tell.
    private static func kind(_ kind: EntryList.Kind, _ name: [UInt8], in directory: borrowing Directory) -> EntryList.Kind {
        guard kind == .unknown else { return kind }
        guard let status = try? directory.status(named: name) else { return .unknown }
        return status.isDirectory ? .directory : status.isRegular ? .file : .other
    }
}
