// Accepts connections and answers requests on them: Hummingbird's HTTP/1 channel on a socket that was bound before this process locked
// itself in.
import HTTPTypes
import Hummingbird
import HummingbirdCore
import Logging
import NIOCore
import NIOPosix
import Program
import Unix

enum Server {
    /// Connections at once; more wait to be accepted.
    private static let mostConnections = 500
    /// Silence before a connection is closed.
    private static let idleSeconds: Int64 = 30
    /// What was asked has so long to be answered after SIGTERM.
    private static let endingSeconds = 5

    /// Never returns: ends the process when a signal says so.
    static func run(_ listener: borrowing Listener, _ portal: Portal, until signals: borrowing Signals) throws -> Never {
        let socket = listener.descriptor.raw
        let traffic = Traffic()
        Task.detached {
            do { try await serve(socket, portal, traffic) } catch {
                Log.error("broken", .text("path", ""), .text("reason", "\(error)"))
                Unix.Process.exit(Ending.tryAgain.rawValue)
            }
        }
        // This thread has nothing else to do; Swift's tasks have their own.
        while signals.next() == nil { _ = try? IO.wait(signals.descriptor.raw, forWriting: false, milliseconds: nil) }
        Task.detached {
            Log.info("ending", .count("running", await traffic.requests))
            await traffic.end(within: endingSeconds)
            Unix.Process.exit(Ending.done.rawValue)
        }
        while true { Unix.Process.sleep(milliseconds: 60_000) }
    }

    private static func serve(_ socket: Int32, _ portal: Portal, _ traffic: Traffic) async throws {
        // What Hummingbird has to say of single connections nobody needs; events have lines of their own.
        let logger = Logger(label: "portal") { _ in SwiftLogNoOpLogHandler() }
        let responder = Routes.router(portal).buildResponder()
        let http = HTTP1Channel(
            responder: { request, writer, channel in
                await traffic.begin()
                do {
                    try await answer(request, writer, channel, portal, responder, logger)
                    await traffic.finish()
                } catch {
                    await traffic.finish()
                    throw error
                }
            },
            configuration: .init(
                idleTimeout: .seconds(idleSeconds),
                httpDecoderConfiguration: .init(maxHeaderFieldSize: 16384, maxHeaderListSize: 32768, maxHeaderFieldCount: 100)))
        let server = try await ServerBootstrap(group: MultiThreadedEventLoopGroup.singleton)
            .childChannelOption(ChannelOptions.allowRemoteHalfClosure, value: true)
            .bind(socket) { channel in http.setup(channel: channel, logger: logger) }
        await traffic.closes(server.channel)
        try await withThrowingDiscardingTaskGroup { group in
            try await server.executeThenClose { connections in
                for try await connection in connections {
                    await traffic.connected()
                    group.addTask {
                        await http.handle(value: connection, logger: logger)
                        await traffic.disconnected()
                    }
                    while await traffic.connections >= mostConnections { try await Task.sleep(for: .milliseconds(20)) }
                }
            }
        }
    }

    private static func answer(
        _ request: Request, _ writer: consuming ResponseWriter, _ channel: any Channel, _ portal: Portal,
        _ responder: RouterResponder<Arrival>, _ logger: Logger
    ) async throws {
        let arrival = Arrival(source: ApplicationRequestContextSource(channel: channel, logger: logger))
        var response = (try? await responder.respond(to: request, context: arrival)) ?? Response(status: .internalServerError)
        // No route of ours has answered: Hummingbird's own words are replaced by a page.
        if response.headers[.contentSecurityPolicy] == nil {
            let refusal = response.status == .internalServerError ? Refusal.broken : .notFound
            response = await portal.serve(request, arrival, for: .anybody) { _ in throw refusal }
        }
        let endsConnection = response.status == .contentTooLarge || response.status == .requestTimeout
        if endsConnection { response.headers[.connection] = "close" }
        try await writer.write(response: response.head, body: response.body)
        // The rest of a body that nobody wants is not read.
        if endsConnection { try? await channel.close() }
    }
}

/// What runs, so that it can be finished.
private actor Traffic {
    private(set) var requests = 0
    private(set) var connections = 0
    private var channel: (any Channel)?

    func begin() { requests += 1 }
    func finish() { requests -= 1 }
    func connected() { connections += 1 }
    func disconnected() { connections -= 1 }
    func closes(_ channel: any Channel) { self.channel = channel }

    /// No more connections; what was asked is answered.
    func end(within seconds: Int) async {
        try? await channel?.close()
        for _ in 0..<seconds * 50 where requests > 0 { try? await Task.sleep(for: .milliseconds(20)) }
    }
}
