// Messages for qrunner: each comes over a socket as one datagram with its file, placed at the message, and is answered by one
// datagram: `K` and on the following lines the signatures, of which there may be none; or `Z` and a sentence. When qrunner closes
// the socket, the work is done.
import Program
import Unix

struct Worker {
    /// A message that takes longer hangs on a dead disk: the process ends, and the message is tried again.
    private static let messageSeconds = 600

    private let socket: Int32
    private let signer: Signer

    init(_ request: TemplateRequest, _ signer: Signer) throws {
        guard request.descriptors.count == 1 else { throw Fatal("malformed request") }
        socket = request.descriptors[0]
        self.signer = signer
    }

    func run() throws -> Ending {
        // A qrunner that was killed, not ended, resets the socket: no more work either way.
        while let (bytes, files) = (try? Socket.receive(socket, limit: 8192)) ?? nil {
            Process.endAfter(seconds: Worker.messageSeconds)
            let answer = try answer(bytes, files)
            files.forEach(Socket.close)
            try Socket.send(socket, answer)
            Process.endAfter(seconds: 0)
        }
        return .done
    }

    private func answer(_ bytes: [UInt8], _ files: [Int32]) throws -> [UInt8] {
        guard let (_, request) = TemplateRequest.decode(bytes, files), request.arguments.count == 1, files.count == 1 else { throw Fatal("malformed request") }
        let id = request.arguments[0]
        guard let start = IO.position(files[0]) else { throw Fatal("a message that is no file") }
        do throws(SigningFault) {
            return Array("K\n".utf8) + (try signer.fields(for: files[0], at: start, id: id, keepsCRLF: false))
        } catch {
            Log.error("not-signed", .bytes("id", id), .text("reason", error.text))
            return Array("Z \(error.text)".utf8)
        }
    }
}
