// Carries octets between a client and the program behind, in both directions at once. Neither side can make it hold more than one buffer, wait in
// a loop, or wait for one side while the other has something to say.
import TLS
import Unix

struct Shuttle: ~Copyable {
    enum Outcome: Equatable {
        /// The program has closed, and the client has all it said.
        case programEnded
        /// The client has gone without TLS's word for it, or its connection broke.
        case broken(String)
    }

    /// What has come from one side and waits for the other. Nothing more is read meanwhile: who sends faster than is taken has to wait.
    private struct Load {
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: 16384, alignment: 16)
        private var range = 0..<0

        var isEmpty: Bool { range.isEmpty }
        var waiting: UnsafeRawBufferPointer { UnsafeRawBufferPointer(rebasing: memory[range]) }
        mutating func fill(_ count: Int) { range = 0..<count }
        mutating func take(_ count: Int) { range = range.lowerBound + count..<range.upperBound }
        mutating func drop() { range = 0..<0 }
    }

    /// A client that takes nothing of what the program left behind when it ended.
    private static let lastWordMilliseconds = 30_000

    private let connection: TLSConnection
    private let input: Int32
    private let output: Int32
    private let program: Descriptor
    private var toProgram = Load()
    private var toClient = Load()

    /// The client sends no more, and the program has been told so.
    private var clientHasEnded = false
    private var programIsTold = false
    private var programHasEnded = false
    private var fault: String?
    /// What TLS waits for: reading may need to write, and the other way round.
    private var waitsForInput = false
    private var waitsForOutput = false

    init(_ connection: TLSConnection, input: Int32, output: Int32, program: consuming Descriptor) {
        self.connection = connection
        self.input = input
        self.output = output
        self.program = program
    }

    mutating func run() throws(SystemError) -> Outcome {
        while true {
            (waitsForInput, waitsForOutput) = (false, false)
            // The program first: a client that hangs up on hearing the program's last word has not cut it short.
            var hasMoved = try readProgram()
            if writeClient() { hasMoved = true }
            if readClient() { hasMoved = true }
            if try writeProgram() { hasMoved = true }
            if programHasEnded && toClient.isEmpty { return fault.map { .broken($0) } ?? .programEnded }
            if hasMoved { continue }
            let interests = [
                Interest(input, forReading: waitsForInput, forWriting: false), Interest(output, forReading: false, forWriting: waitsForOutput),
                Interest(program.raw, forReading: !programHasEnded && toClient.isEmpty, forWriting: !toProgram.isEmpty),
            ]
            // While it lives, the program behind says when a client has been silent for too long.
            guard try IO.wait(interests, milliseconds: programHasEnded ? Shuttle.lastWordMilliseconds : nil) else { return .broken("the client takes nothing") }
        }
    }

    private mutating func readClient() -> Bool {
        guard !clientHasEnded, !programHasEnded, toProgram.isEmpty else { return false }
        switch connection.readSome(into: toProgram.memory) {
        case .octets(let count): toProgram.fill(count)
        case .wantsReading: waitsForInput = true; return false
        case .wantsWriting: waitsForOutput = true; return false
        case .ended: clientHasEnded = true
        // What came before the cut is as good as ever, and goes to the program; that there was no end is for the log.
        case .cut: lose("the connection ended without TLS's word for it")
        case .broken(let fault): lose(fault.text)
        }
        return true
    }

    private mutating func lose(_ reason: String) {
        clientHasEnded = true
        fault = reason
    }

    private mutating func writeProgram() throws(SystemError) -> Bool {
        if programHasEnded { toProgram.drop() }
        if toProgram.isEmpty {
            guard clientHasEnded, !programIsTold else { return false }
            programIsTold = true
            Socket.endWriting(program.raw)
            return true
        }
        do throws(SystemError) {
            toProgram.take(try IO.writeSome(program.raw, toProgram.waiting))
        } catch {
            if error.wouldBlock { return false }
            guard error.isBrokenPipe else { throw error }
            // It listens no more; it may still have something to say.
            toProgram.drop()
        }
        return true
    }

    private mutating func readProgram() throws(SystemError) -> Bool {
        guard !programHasEnded, toClient.isEmpty else { return false }
        do throws(SystemError) {
            let count = try IO.read(program.raw, into: toClient.memory)
            if count == 0 { programHasEnded = true } else { toClient.fill(count) }
        } catch {
            if error.wouldBlock { return false }
            guard error.isBrokenPipe else { throw error }
            programHasEnded = true
        }
        return true
    }

    private mutating func writeClient() -> Bool {
        guard !toClient.isEmpty else { return false }
        switch connection.writeSome(toClient.waiting) {
        case .octets(let count): toClient.take(count)
        case .wantsReading: waitsForInput = true; return false
        case .wantsWriting: waitsForOutput = true; return false
        case .ended, .cut: giveUp("the client is gone")
        case .broken(let fault): giveUp(fault.text)
        }
        return true
    }

    /// Nobody is there to hear the program, which finds out when it next says something.
    private mutating func giveUp(_ reason: String) {
        if fault == nil { fault = reason }
        toClient.drop()
        clientHasEnded = true
        programHasEnded = true
        Socket.shutDown(program.raw)
    }
}
