// How the program behind is started: by asking its template, or by a process that was forked for this before anything was read.
import Program
import TLS
import Unix

final class Sessions {
    /// In service: the program as a template of its own.
    private(set) var template: Template?
    /// By hand: at the other end waits a process that will start the program. It may have rights that this one gives up.
    private var starter: Descriptor?

    init(_ path: String, _ command: [String], _ environment: Environment, isTemplate: Bool) throws(SystemError) {
        // Whoever started us may itself be behind a TLS server.
        var environment = environment
        environment.removeAll(withPrefix: "SSL_")
        if isTemplate {
            template = try Template(program: path, arguments: command, environment: environment)
        } else {
            starter = try Sessions.forkStarter(path, command, environment)
        }
    }

    /// Nothing but our own word reaches the starter.
    private static func forkStarter(_ path: String, _ command: [String], _ environment: Environment) throws(SystemError) -> Descriptor {
        let ends = try Socket.pair()
        guard try Process.fork() == 0 else { return ends.takeFirst() }
        // So that it ends with us.
        Socket.close(ends.first.raw)
        guard let (bytes, descriptors) = try? Socket.receive(ends.second.raw, limit: 8192), let session = descriptors.first,
              let (_, request) = TemplateRequest.decode(bytes, descriptors) else { Process.exit(Ending.done.rawValue) }
        var environment = environment
        for entry in request.environment {
            let parts = entry.split(separator: "=", maxSplits: 1)
            environment[String(parts[0])] = String(parts[1])
        }
        do throws(SystemError) { _ = try Process.spawn(path, command, environment, descriptors: [session, session, 2]) } catch {
            Log.error("not-started", .text("reason", error.text))
            Process.exit(Ending.tryAgain.rawValue)
        }
        Process.exit(Ending.done.rawValue)
    }

    /// Our end of a connection to the program, which is told what was agreed on with the client. There is one for a process: afterwards it
    /// can ask for no more.
    func start(_ connection: TLSConnection, _ environment: Environment) throws(SystemError) -> Descriptor {
        let variables = Sessions.variables(connection, environment)
        let ends = try Socket.streamPair()
        Socket.setNonblocking(ends.first.raw)
        if let template {
            try template.start(tag: 0, environment: environment.entries + variables, descriptors: [ends.second.raw])
        } else if let starter = starter.take() {
            let request = TemplateRequest(arguments: [], environment: variables, descriptors: [])
            try Socket.send(starter.raw, request.encoded(tag: 0), descriptors: [ends.second.raw])
        }
        template = nil
        return ends.takeFirst()
    }

    /// What the program learns of the TLS, as other programs between it and a UCSPI server name it.
    static func variables(_ connection: TLSConnection, _ environment: Environment) -> [String] {
        var variables = ["SSL_PROTOCOL=\(connection.version)", "SSL_CIPHER=\(connection.cipher)", "SSL_VERSION_LIBRARY=\(TLSLibrary.version)"]
        if let name = connection.claimedServerName, name.allSatisfy(Sessions.isOfName) { variables.append("SSL_TLS_SNI_SERVERNAME=" + String(decoding: name, as: UTF8.self)) }
        // Without it a session would think that it is used by hand, by somebody who may do everything.
        if environment["PROTO"] == nil { variables.append("PROTO=TCP") }
        return variables
    }

    private static func isOfName(_ octet: UInt8) -> Bool {
        switch octet {
        case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x2d, 0x2e, 0x5f: true
        default: false
        }
    }
}
