// An ELF executable's own word on what it is linked with (System V ABI, chapters 4 and 5).
import Foundation

struct ExecutableFile {
    struct Malformed: Error {}

    private let bytes: Data
    /// PT_INTERP: the dynamic linker it asks for.
    private(set) var interpreter: String?
    /// DT_NEEDED: the libraries it asks for.
    private(set) var libraries: [String] = []
    /// What .strtab names: functions and data, if it was not stripped.
    private(set) var symbols: Data?

    init(_ url: URL) throws {
        bytes = try Data(contentsOf: url, options: .alwaysMapped)
        // 64-bit, little-endian.
        guard bytes.count > 64, bytes.prefix(6).elementsEqual([0x7f, 0x45, 0x4c, 0x46, 2, 1]) else { throw Malformed() }
        let programHeaders = try (0..<number(at: 56, octets: 2)).map { try number(at: 32, octets: 8) + $0 * number(at: 54, octets: 2) }
        var dynamic: Range<Int>?
        var loads: [(address: Int, offset: Int, size: Int)] = []
        for header in programHeaders {
            let offset = try number(at: header + 8, octets: 8), size = try number(at: header + 32, octets: 8)
            switch try number(at: header, octets: 4) {
            case 1: loads.append((try number(at: header + 16, octets: 8), offset, size))
            case 2: dynamic = offset..<offset + size
            case 3: interpreter = try text(at: offset)
            default: break
            }
        }
        if let dynamic { try readLibraries(dynamic, loads) }
        try readSymbols()
    }

    private mutating func readLibraries(_ dynamic: Range<Int>, _ loads: [(address: Int, offset: Int, size: Int)]) throws {
        let entries = try stride(from: dynamic.lowerBound, to: dynamic.upperBound, by: 16).map { (try number(at: $0, octets: 8), try number(at: $0 + 8, octets: 8)) }
        guard let names = entries.first(where: { $0.0 == 5 })?.1, let load = loads.first(where: { $0.address <= names && names < $0.address + $0.size }) else { return }
        libraries = try entries.filter { $0.0 == 1 }.map { try text(at: names - load.address + load.offset + $0.1) }
    }

    /// The string table that the symbol table (SHT_SYMTAB) links to.
    private mutating func readSymbols() throws {
        let sections = try number(at: 40, octets: 8), size = try number(at: 58, octets: 2)
        for index in 0..<(try number(at: 60, octets: 2)) where try number(at: sections + index * size + 4, octets: 4) == 2 {
            let strings = sections + (try number(at: sections + index * size + 40, octets: 4)) * size
            let start = try number(at: strings + 24, octets: 8), count = try number(at: strings + 32, octets: 8)
            guard start + count <= bytes.count else { throw Malformed() }
            symbols = bytes[start..<start + count]
        }
    }

    func hasSymbol(_ name: String) -> Bool { symbols?.range(of: Data([0]) + Data(name.utf8) + Data([0])) != nil }
    func hasSymbol(startingWith prefix: String) -> Bool { symbols?.range(of: Data([0]) + Data(prefix.utf8)) != nil }

    private func number(at offset: Int, octets: Int) throws -> Int {
        guard offset >= 0, offset + octets <= bytes.count else { throw Malformed() }
        return (0..<octets).reduce(0) { $0 | Int(truncatingIfNeeded: UInt64(bytes[offset + $1]) << (8 * UInt64($1))) }
    }

    private func text(at offset: Int) throws -> String {
        guard offset < bytes.count, let end = bytes[offset...].firstIndex(of: 0) else { throw Malformed() }
        return String(decoding: bytes[offset..<end], as: UTF8.self)
    }
}
