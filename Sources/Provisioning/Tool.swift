// Programs of others that do the work: mkfs.ext4, mount, nsupdate, curl. Each is run by its own name from the system's directories,
// with an environment of our making and whatever it reads on standard input; what it says is kept for the sentence that tells why
// it failed. No shell stands in between.
import Unix

public struct Tool: Sendable {
    /// Where programs are looked for: PATH is whoever's who started us.
    private static let directories = ["/usr/sbin", "/usr/bin", "/sbin", "/bin", "/usr/local/sbin", "/usr/local/bin"]

    /// How a program ended, and what it said.
    public struct Result: Sendable {
        /// Exit code, or 256 plus a signal.
        public let status: Int32
        public let output: String
        public let errors: String

        public var isDone: Bool { status == 0 }
        /// The last line it said, on standard error if there is one: why it failed, as a rule. What is indented only adds to a line (mount);
        /// where all is (LVM), it is the last line still.
        public var lastWords: String {
            let lines = (errors.contains { !$0.isWhitespace } ? errors : output).split(whereSeparator: \.isNewline).filter { $0.contains { !$0.isWhitespace } }
            let said = (lines.last { !$0.hasPrefix(" ") } ?? lines.last).map { String($0.drop(while: \.isWhitespace)) }
            return said ?? (status > 256 ? "ended by signal \(status - 256)" : "exit code \(status)")
        }
    }

    let name: String
    let path: String

    public init(_ name: String) throws(ProvisioningError) {
        guard let directory = Tool.directories.first(where: { Path.exists($0 + "/" + name) }) else {
            throw ProvisioningError("\(name) is not installed: install.sh installs it")
        }
        self.name = name
        path = directory + "/" + name
    }

    /// One of our own programs, which is beside this one.
    init(ours name: String) throws(ProvisioningError) {
        guard let directory = Unix.Process.ownDirectory(), Path.exists(directory + "/" + name) else { throw ProvisioningError("\(name) is not beside this program: install.sh puts it there") }
        self.name = name
        path = directory + "/" + name
    }

    /// Runs it to its end; after so many seconds it is killed. Beyond `outputOctets`, what it says is cut. `lock`: a descriptor that it has
    /// too, and with it what is locked, until it has ended; also when we have ended before.
    public func run(_ arguments: [String], input: [UInt8] = [], limitSeconds: Int = 120, outputOctets: Int = 1 << 20, lock: Int32? = nil) throws -> Result {
        let standardInput = try Descriptor.pipe(), standardOutput = try Descriptor.pipe(), standardError = try Descriptor.pipe()
        let environment = Environment(["PATH=" + Tool.directories.joined(separator: ":"), "LANG=C.UTF-8", "DM_DISABLE_UDEV=\(Tool.disablesUdev)"])
        let pid = try Unix.Process.spawn(
            path, [name] + arguments, environment, descriptors: [standardInput.first.raw, standardOutput.second.raw, standardError.second.raw] + (lock.map { [$0] } ?? []))
        let output = standardOutput.takeFirst(), errors = standardError.takeFirst()
        let exchanged = try Tool.exchange(standardInput.takeSecond(), input, output, errors, seconds: limitSeconds, outputOctets)
        if exchanged == nil { Unix.Process.kill(pid, 9) }
        let status = try Unix.Process.wait(pid)
        guard let (said, complained) = exchanged else { throw ProvisioningError("\(name) did not end within \(limitSeconds) seconds and was killed") }
        return Result(status: status, output: String(decoding: said, as: UTF8.self), errors: String(decoding: complained, as: UTF8.self))
    }

    /// Runs it; a failure is an error, with what the program said.
    @discardableResult
    public func must(_ arguments: [String], input: [UInt8] = [], limitSeconds: Int = 120) throws -> String {
        let result = try run(arguments, input: input, limitSeconds: limitSeconds)
        guard result.isDone else { throw ProvisioningError("\(name) \(arguments.joined(separator: " ")): \(result.lastWords)") }
        return result.output
    }

    /// LVM waits for udev for ever where there is none.
    private static let disablesUdev = Path.exists("/run/udev/control") ? 0 : 1

    /// Writes all of the input and reads all of the output, whichever is possible. nil: the time is over.
    private static func exchange(
        _ writing: consuming Descriptor, _ input: [UInt8], _ output: borrowing Descriptor, _ errors: borrowing Descriptor, seconds: Int, _ outputOctets: Int
    ) throws(SystemError) -> ([UInt8], [UInt8])? {
        let end = Clock.monotonicMilliseconds() + seconds * 1000
        for raw in [writing.raw, output.raw, errors.raw] { Socket.setNonblocking(raw) }
        let sink = writing.release()
        var isSinkOpen = true
        defer { if isSinkOpen { Socket.close(sink) } }
        var left = input[...], texts: [[UInt8]] = [[], []], open = [true, true]
        while open[0] || open[1] {
            if left.isEmpty, isSinkOpen {
                Socket.close(sink)
                isSinkOpen = false
            }
            let interests = [
                Interest(sink, forReading: false, forWriting: isSinkOpen), Interest(output.raw, forReading: open[0], forWriting: false),
                Interest(errors.raw, forReading: open[1], forWriting: false),
            ]
            guard case let wait = end - Clock.monotonicMilliseconds(), wait > 0, try IO.wait(interests, milliseconds: wait) else { return nil }
            if isSinkOpen {
                do throws(SystemError) {
                    var failure: SystemError?
                    let count = left.withUnsafeBytes { bytes -> Int in
                        do throws(SystemError) { return try IO.writeSome(sink, bytes) } catch { failure = error; return 0 }
                    }
                    if let failure { throw failure }
                    left = left.dropFirst(count)
                } catch {
                    // It has stopped reading: how it ends will tell why.
                    if error.isBrokenPipe { left = [] } else if !error.wouldBlock { throw error }
                }
            }
            for (index, raw) in [output.raw, errors.raw].enumerated() where open[index] {
                do throws(SystemError) {
                    let more = try IO.readSome(raw, limit: 65536)
                    if more.isEmpty { open[index] = false } else if texts[index].count < outputOctets { texts[index] += more }
                } catch { if !error.wouldBlock { throw error } }
            }
        }
        return (texts[0], texts[1])
    }
}
