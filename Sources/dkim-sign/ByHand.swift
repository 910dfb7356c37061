// A message on standard input, which comes out on standard output with its signatures in front. It is read twice: what comes
// through a pipe is kept in a file without a name meanwhile.
import Program
import Unix

struct ByHand: ~Copyable {
    /// What can be read twice: standard input, or the file that it is kept in.
    private let source: Descriptor
    private let start: Int
    private let isSpool: Bool

    /// Before the doors are locked: afterwards no file can be made.
    init(_ environment: Environment) throws(SystemError) {
        let position = IO.position(Descriptor.standardInput)
        start = position ?? 0
        isSpool = position == nil
        source = isSpool ? try ByHand.spool(in: environment["TMPDIR"] ?? "/tmp") : Descriptor(owning: Descriptor.standardInput)
    }

    /// A file that nobody else can open, and that is gone with this process.
    private static func spool(in path: String) throws(SystemError) -> Descriptor {
        let directory = try Directory(path)
        let name = ".dkim-sign.\(Random.bits())"
        let file = try directory.create(name, mode: 0o600)
        try directory.remove(name)
        return file
    }

    func run(_ signer: Signer) throws -> Ending {
        if isSpool { _ = try IO.copy(from: Descriptor.standardInput, to: source.raw) }
        let fields: [UInt8]
        do throws(SigningFault) { fields = try signer.fields(for: source.raw, at: start, id: [], keepsCRLF: true) } catch { throw Fatal(error.text) }
        try IO.writeAll(Descriptor.standardOutput, fields)
        try IO.seek(source.raw, to: start)
        _ = try IO.copy(from: source.raw, to: Descriptor.standardOutput)
        return .done
    }
}
