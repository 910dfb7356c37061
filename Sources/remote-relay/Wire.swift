// The connection to a peer, in the clear or under TLS: commands out, replies in, nothing waited for without end.
import TLS
import Unix

/// The connection cannot be used any more. `reply`: the peer's own words, if it said why.
struct Broken: Error {
    let text: String
    var reply: Reply?

    init(_ text: String, reply: Reply? = nil) {
        self.text = text
        self.reply = reply
    }
}

final class Wire {
    private let connection: Connection
    private var tls: TLSConnection?
    private var reader = ReplyReader()
    private let room = UnsafeMutableRawBufferPointer.allocate(byteCount: 4096, alignment: 16)

    init(_ connection: consuming Connection) { self.connection = connection }
    deinit {
        tls?.close()
        room.deallocate()
    }

    var remote: NetworkAddress { connection.remote }
    var descriptor: Int32 { connection.descriptor.raw }
    /// The peer has said more than it was asked.
    var hasUnread: Bool { reader.hasUnread }
    /// Protocol and cipher; nil: in the clear.
    var protection: [UInt8]? { tls?.summary }

    /// From here on everything is under TLS. RFC 3207 4.2, and CVE-2011-0411: what came before in the clear is not believed.
    func secure(_ settings: TLSClientSettings, serverName: [UInt8], milliseconds: Int) throws(TLSFault) {
        reader = ReplyReader()
        tls = try TLSConnection.connect(settings, descriptor: descriptor, serverName: serverName, milliseconds: milliseconds)
    }

    /// `milliseconds`: how long the peer may take nothing.
    func send(_ bytes: UnsafeRawBufferPointer, milliseconds: Int) throws(Broken) {
        if let tls {
            do throws(TLSFault) { try tls.writeAll(bytes, milliseconds: milliseconds) } catch { throw Broken("the connection broke: \(error.text)") }
        } else {
            do throws(SystemError) { try connection.writeAll(bytes, idleMilliseconds: milliseconds) } catch { throw Broken("the connection broke: \(error.text)") }
        }
    }

    func send(_ bytes: [UInt8], milliseconds: Int) throws(Broken) {
        let result = bytes.withUnsafeBytes { span -> Result<Void, Broken> in
            do throws(Broken) { return .success(try send(span, milliseconds: milliseconds)) } catch { return .failure(error) }
        }
        try result.get()
    }

    /// The next reply, whole within this time.
    func reply(milliseconds: Int) throws(Broken) -> Reply {
        let end = Clock.monotonicMilliseconds() + milliseconds
        while true {
            do throws(ReplyFault) { if let reply = try reader.next() { return reply } } catch { throw Broken("the peer sent \(error.text)") }
            let left = end - Clock.monotonicMilliseconds()
            guard left > 0, let count = try read(milliseconds: left) else { throw Broken("the peer did not answer within \(milliseconds / 1000) seconds") }
            guard count > 0 else { throw Broken("the peer closed the connection") }
            reader.take(UnsafeRawBufferPointer(rebasing: room[..<count]))
        }
    }

    /// nil: the time is over. 0: the peer has closed.
    private func read(milliseconds: Int) throws(Broken) -> Int? {
        if let tls {
            let start = Clock.monotonicMilliseconds()
            do throws(TLSFault) { return try tls.read(into: room, milliseconds: milliseconds) } catch {
                if Clock.monotonicMilliseconds() - start >= milliseconds { return nil }
                throw Broken("the connection broke: \(error.text)")
            }
        }
        do throws(SystemError) { return try connection.read(into: room, milliseconds: milliseconds) } catch { throw Broken("the connection broke: \(error.text)") }
    }
}
