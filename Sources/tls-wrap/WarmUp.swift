// A rehearsal: a template goes through whole connections with itself before it forks. What OpenSSL, the language and the allocator set up at
// first use is then set up once, and the forks find it done.
import Program
import TLS
import Unix

enum WarmUp {
    static func run(_ station: Station) {
        Log.rehearse(.text("client", "a"))
        station.settings.rehearse { connection, descriptor in
            let environment = Environment(["PROTO=TCP", "TCPREMOTEIP=::1"])
            let request = TemplateRequest(arguments: [], environment: environment.entries + Sessions.variables(connection, environment), descriptors: [])
            _ = TemplateRequest.decode(request.encoded(tag: 0), [])
            // A program that has said something and gone.
            guard let ends = try? Socket.streamPair() else { return }
            try? IO.writeAll(ends.second.raw, Array("220 mail.example.org ESMTP\r\n".utf8))
            Socket.endWriting(ends.second.raw)
            Socket.setNonblocking(ends.first.raw)
            var shuttle = Shuttle(connection, input: descriptor, output: descriptor, program: ends.takeFirst())
            _ = try? shuttle.run()
            connection.close()
            _ = try? IO.wait([Interest(descriptor, forReading: true, forWriting: false)], milliseconds: 0)
        }
    }
}
