// The connection of one destination in qrunner's service: messages come over a socket, each one datagram with its file, and each is
// answered by one datagram with a line per recipient. When qrunner closes the socket, the work is done.
import Mail
import Program
import Unix

struct Service: ~Copyable {
    /// qrunner closes the socket sooner; this is for one that does not.
    private static let idleMilliseconds = 15_000
    /// A hundred recipients with all their parameters, and a signature.
    private static let mostOctets = 256 * 1024

    private let socket: Int32
    private let relay: Relay

    init(_ request: TemplateRequest, _ station: Station) throws {
        guard request.arguments.count == 4, request.descriptors.count == 1 else { throw Fatal("malformed request") }
        let words = request.arguments.map { String(decoding: $0, as: UTF8.self) }
        guard let port = UInt16(words[1]), let level = Level(rawValue: words[2]) else { throw Fatal("malformed request") }
        socket = request.descriptors[0]
        relay = Relay(
            Destination(
                name: request.arguments[0], port: port, level: level, isHost: words[3].contains("m"), wantsAuthentication: words[3].contains("a"),
                mayBeOurselves: words[3].contains("o")), station)
    }

    func run() throws -> Ending {
        while try wait() {
            // A qrunner that was killed, not ended, resets the socket: no more work either way.
            guard let (bytes, files) = (try? Socket.receive(socket, limit: Service.mostOctets)) ?? nil else { break }
            let outcomes = try send(bytes, files)
            files.forEach(Socket.close)
            // Nobody may be there any more; the next look at the socket says so.
            try? Socket.send(socket, outcomes)
        }
        relay.quit()
        return .done
    }

    /// Until there is work; false: there has been none for long enough.
    private func wait() throws -> Bool {
        while true {
            guard let peer = relay.descriptor else { return try IO.waitReadable([socket], milliseconds: Service.idleMilliseconds) != nil }
            guard let ready = try IO.waitReadable([socket, peer], milliseconds: Service.idleMilliseconds) else { return false }
            if ready[1] { relay.drop() }
            if ready[0] { return true }
        }
    }

    private func send(_ bytes: [UInt8], _ files: [Int32]) throws -> [UInt8] {
        guard files.count == 1, let (_, request) = TemplateRequest.decode(bytes, files), request.arguments.count == 3,
              case .envelope(let envelope, _) = Envelope.read(request.arguments[1]), !envelope.recipients.isEmpty else { throw Fatal("malformed message") }
        let outcomes: [Outcome]
        do throws(SystemError) {
            let socket = self.socket
            let message = try Message(id: request.arguments[0], envelope: envelope, prefix: request.arguments[2], file: files[0]) {
                (try? IO.waitReadable([], orClosed: socket, readable: false, milliseconds: 0)) == nil
            }
            outcomes = relay.send(message)
        } catch { outcomes = envelope.recipients.map { _ in Outcome(.tryAgain, "4.3.0", error.text) } }
        return Report.lines(envelope, outcomes)
    }
}
