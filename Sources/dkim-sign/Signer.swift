// One message: read once, its body hashed as it streams by, and signed with every key of its domain.
import DKIM
import Program
import TLS
import Unix

/// A message that should be signed and cannot be, in words that say why: it waits until somebody has looked.
struct SigningFault: Error {
    let text: String
}

final class Signer {
    /// A longer header section is nobody's letter; it is not kept in memory, and the message passes unsigned.
    static let headerLimit = 1 << 20

    private static let pieceSize = 65536

    private let keyring: Keyring

    init(_ keyring: Keyring) { self.keyring = keyring }

    /// Done before there is a message.
    func prepare() { keyring.refresh() }

    /// The DKIM-Signature fields of the message that begins at `start`, with the line ends of its first line where `keepsCRLF`, else
    /// LF; none if it is not to be signed. The file's position stays.
    func fields(for file: Int32, at start: Int, id: [UInt8], keepsCRLF: Bool) throws(SigningFault) -> [UInt8] {
        do {
            let (headerBytes, beginning, next) = try readHeader(file, at: start)
            let header = try Header(headerBytes)
            let domain = try SignedFields.domain(of: header)
            let name = String(decoding: domain, as: UTF8.self)
            let keys = try keyring.keys(for: name)
            if keys.isEmpty {
                Log.info("unsigned", .bytes("id", id), .text("reason", "there is no key for \(name)"))
                return []
            }
            let hash = try bodyHash(file, beginning, from: next)
            let now = Clock.seconds()
            var fields: [UInt8] = []
            for key in keys {
                let signature = try Signature(header, algorithm: key.signing.algorithm, domain: domain, selector: key.selector, time: now, bodyHash: hash)
                fields += signature.field(try key.signing.sign(signature.signedText))
            }
            Log.info("signed", .bytes("id", id), .text("domain", name), .text("selectors", keys.map(\.selector).joined(separator: ",")))
            return keepsCRLF && header.hasCRLF ? fields.flatMap { $0 == 0x0a ? [0x0d, 0x0a] : [$0] } : fields
        } catch let message as NotSigned {
            Log.warning("unsigned", .bytes("id", id), .text("reason", message.reason))
            return []
        } catch let error as SystemError {
            throw SigningFault(text: error.text)
        } catch let error as TLSFault {
            throw SigningFault(text: error.text)
        } catch {
            throw error as? SigningFault ?? SigningFault(text: "\(error)")
        }
    }

    /// The header section, what of the body was read with it, and where the file goes on behind that.
    private func readHeader(_ file: Int32, at start: Int) throws -> (header: [UInt8], beginning: ArraySlice<UInt8>, next: Int) {
        var bytes: [UInt8] = []
        while true {
            let piece = try IO.readAll(file, from: start + bytes.count, limit: Signer.pieceSize)
            bytes += piece
            // A message may end without a body.
            let boundary = Header.boundary(in: bytes) ?? (piece.count < Signer.pieceSize ? (bytes.count, bytes.count) : nil)
            guard (boundary?.headerEnd ?? bytes.count) <= Signer.headerLimit else { throw NotSigned("the header is longer than \(Signer.headerLimit) octets") }
            if let (headerEnd, bodyStart) = boundary { return (Array(bytes[..<headerEnd]), bytes[bodyStart...], start + bytes.count) }
        }
    }

    /// SHA-256 of the canonical body: `beginning`, then what the file has from `offset` on.
    private func bodyHash(_ file: Int32, _ beginning: ArraySlice<UInt8>, from offset: Int) throws -> [UInt8] {
        var body = RelaxedBody()
        let digest = SHA256Digest()
        beginning.withUnsafeBytes { body.update($0) { digest.update($0) } }
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: Signer.pieceSize, alignment: 16)
        defer { buffer.deallocate() }
        var place = offset
        while true {
            let count = try IO.read(file, into: buffer, at: place)
            if count == 0 { break }
            body.update(UnsafeRawBufferPointer(rebasing: buffer[..<count])) { digest.update($0) }
            place += count
        }
        body.finish { digest.update($0) }
        return digest.finish()
    }
}
