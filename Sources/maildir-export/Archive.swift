// A tar archive (POSIX.1 ustar; pax records for what does not fit): `Maildir/cur/NAME`. Files are 0600, directories 0700, and nobody's in
// particular: whoever unpacks it has them.
import Unix

struct Archive: Visitor {
    private static let block = 512

    private let output: Output

    init(_ output: Output) { self.output = output }

    mutating func takes(unopened message: Message) -> Bool { false }

    mutating func visit(directory path: [UInt8], modified: Int) throws {
        header(Archive.name(path), kind: 0x35 /* 5 */, mode: 0o700, octets: 0, modified: modified)
        try output.check()
    }

    mutating func visit(message: Message, _ file: borrowing Descriptor) throws -> Int { try write(file, message.path) }

    mutating func visit(file: borrowing Descriptor, path: [UInt8]) throws { _ = try write(file, path) }

    private func write(_ file: borrowing Descriptor, _ path: [UInt8]) throws -> Int {
        let status = try IO.status(file.raw)
        header(Archive.name(path), kind: 0x30 /* 0 */, mode: 0o600, octets: status.size, modified: status.modified)
        try output.append(file, octets: status.size)
        output.repeating(0, (Archive.block - status.size % Archive.block) % Archive.block)
        return status.size
    }

    /// Two blocks of zeros.
    func end() { output.repeating(0, 2 * Archive.block) }

    private static func name(_ path: [UInt8]) -> [UInt8] { Array("Maildir/".utf8) + path }

    private func header(_ path: [UInt8], kind: UInt8, mode: Int, octets: Int, modified: Int) {
        let parts = Archive.split(path)
        // 11 digits of base 8 hold 8 GiB.
        let isLarge = octets >= 1 << 33
        if parts == nil || isLarge {
            var records: [UInt8] = []
            if parts == nil {
                // Names are what their owner made of them, and UTF-8 is what pax takes them for.
                if String(validating: path, as: UTF8.self) == nil { records += Archive.record("hdrcharset", Array("BINARY".utf8)) }
                records += Archive.record("path", path)
            }
            if isLarge { records += Archive.record("size", Array("\(octets)".utf8)) }
            block(prefix: [], name: Array("Maildir/pax".utf8), kind: 0x78 /* x */, mode: 0o600, octets: records.count, modified: modified)
            output.append(records)
            output.repeating(0, (Archive.block - records.count % Archive.block) % Archive.block)
        }
        let (prefix, name) = parts ?? ([], path.prefix(100))
        block(prefix: prefix, name: Array(name), kind: kind, mode: mode, octets: isLarge ? 0 : octets, modified: modified)
    }

    /// 155 octets, a slash that is not written, 100 octets; nil: it does not fit.
    private static func split(_ path: [UInt8]) -> (prefix: [UInt8], name: ArraySlice<UInt8>)? {
        if path.count <= 100 { return ([], path[...]) }
        // A directory's last slash parts nothing.
        for place in path.indices.dropLast() where path[place] == 0x2f && path.count - place - 1 <= 100 {
            return place <= 155 ? (Array(path[..<place]), path[(place + 1)...]) : nil
        }
        return nil
    }

    /// `LENGTH KEY=VALUE\n`, the length being that of all of it.
    private static func record(_ key: String, _ value: [UInt8]) -> [UInt8] {
        let rest = Array(" \(key)=".utf8) + value + [0x0a]
        var length = rest.count + 1
        while "\(length)".utf8.count + rest.count != length { length += 1 }
        return Array("\(length)".utf8) + rest
    }

    private func block(prefix: [UInt8], name: [UInt8], kind: UInt8, mode: Int, octets: Int, modified: Int) {
        var block = [UInt8](repeating: 0, count: Archive.block)
        func put(_ bytes: some Sequence<UInt8>, at place: Int) { for (index, byte) in bytes.enumerated() { block[place + index] = byte } }
        func put(_ number: Int, digits: Int, at place: Int) {
            let text = String(max(0, number), radix: 8)
            put((String(repeating: "0", count: max(0, digits - text.utf8.count)) + text).utf8.suffix(digits), at: place)
        }
        put(name, at: 0)
        put(mode, digits: 7, at: 100)
        put(0, digits: 7, at: 108)
        put(0, digits: 7, at: 116)
        put(octets, digits: 11, at: 124)
        put(min(modified, 1 << 33 - 1), digits: 11, at: 136)
        put("        ".utf8, at: 148)
        block[156] = kind
        put("ustar\u{0}00".utf8, at: 257)
        put(0, digits: 7, at: 329)
        put(0, digits: 7, at: 337)
        put(prefix, at: 345)
        put(block.reduce(0) { $0 + Int($1) }, digits: 6, at: 148)
        block[154] = 0
        output.append(block)
    }
}
