// One connection, from the handshake on.
import Program
import TLS
import Unix

struct Conversation {
    private static let handshakeMilliseconds = 30_000

    private let settings: TLSServerSettings
    private let sessions: Sessions
    private let environment: Environment
    private let client: String

    init(_ settings: TLSServerSettings, _ sessions: Sessions, _ environment: Environment) {
        self.settings = settings
        self.sessions = sessions
        self.environment = environment
        client = environment["TCPREMOTEIP"] ?? environment["TCP6REMOTEIP"] ?? ""
    }

    /// The process ends with it, at once: to give back piece by piece what it shares with its template would cost more than the handshake.
    func run(input: Int32, output: Int32) -> Never {
        Socket.setNonblocking(input)
        if output != input { Socket.setNonblocking(output) }
        do throws(TLSFault) {
            let connection = try TLSConnection.accept(settings, input: input, output: output, milliseconds: Conversation.handshakeMilliseconds)
            _ = Unmanaged.passRetained(connection)
            serve(connection, input, output)
            connection.close()
        } catch { Log.info("not-secured", .text("client", client), .text("reason", error.text)) }
        Parting.part(input: input, output: output)
        Process.exit(Ending.done.rawValue)
    }

    private func serve(_ connection: TLSConnection, _ input: Int32, _ output: Int32) {
        do throws(SystemError) {
            var shuttle = Shuttle(connection, input: input, output: output, program: try sessions.start(connection, environment))
            if case .broken(let reason) = try shuttle.run() { Log.info("broken", .text("client", client), .text("reason", reason)) }
        } catch { Log.error("not-served", .text("client", client), .text("reason", error.text)) }
    }
}
