// The private keys of control/dkim, by domain. They are read when they are wanted and kept; what has changed on disk is read again.
import DKIM
import TLS
import Unix

/// A key, and the selector under which DNS has its other half.
struct Key {
    let selector: String
    let signing: SigningKey
}

final class Keyring {
    /// A key is a few KB; whatever else lies there is not read into memory.
    private static let fileLimit = 65536

    /// A file or directory as it was when it was read.
    private struct Stamp: Equatable {
        let inode: UInt64
        let changedNanoseconds: Int

        init(_ status: IO.Status) {
            inode = status.inode
            changedNanoseconds = status.changedNanoseconds
        }
    }

    private struct Entry {
        let directory: Stamp
        let files: [(name: String, stamp: Stamp)]
        let keys: [Key]
    }

    private let path: String
    private var entries: [String: Entry] = [:]

    init(_ path: String) { self.path = path }

    /// The domain's keys, RSA first: receivers that look at one signature look at the uppermost, and all know RSA.
    func keys(for domain: String) throws -> [Key] {
        do {
            let directory = try Directory(path).directory(domain)
            if let entry = entries[domain], try isCurrent(entry, directory) { return entry.keys }
            let entry = try read(directory, domain)
            entries[domain] = entry
            return entry.keys
        } catch {
            entries[domain] = nil
            guard let error = error as? SystemError else { throw error }
            if error.code == 2 /* ENOENT */ || error.isTooLong { return [] }
            throw SigningFault(text: error.text)
        }
    }

    /// Reads what has changed before there is a message that waits for it.
    func refresh() {
        guard let domains = try? Directory(path).names() else { return }
        // What is wrong with a domain's keys is said when its mail comes.
        for domain in domains.prefix(100) { _ = try? keys(for: domain) }
    }

    private func isCurrent(_ entry: Entry, _ directory: borrowing Directory) throws(SystemError) -> Bool {
        guard Stamp(try IO.status(directory.descriptor.raw)) == entry.directory else { return false }
        for file in entry.files where Stamp(try directory.status(file.name)) != file.stamp { return false }
        return true
    }

    private func read(_ directory: borrowing Directory, _ domain: String) throws -> Entry {
        // Stamps before contents: a change in between is seen the next time.
        let stamp = Stamp(try IO.status(directory.descriptor.raw))
        var files: [(name: String, stamp: Stamp)] = []
        var keys: [Key] = []
        for name in try directory.names() {
            guard let selector = KeyFile.selector(file: name) else { continue }
            guard keys.count < KeyFile.most else { throw SigningFault(text: "\(directory.path) has more than \(KeyFile.most) keys") }
            files.append((name, Stamp(try directory.status(name))))
            keys.append(Key(selector: selector, signing: try key(directory, name)))
        }
        let isRSA = { (key: Key) in key.signing.algorithm == "rsa-sha256" }
        return Entry(directory: stamp, files: files, keys: keys.filter(isRSA) + keys.filter { !isRSA($0) })
    }

    private func key(_ directory: borrowing Directory, _ name: String) throws -> SigningKey {
        let pem: [UInt8]
        do throws(SystemError) { pem = try directory.contents(name, limit: Keyring.fileLimit) } catch { throw SigningFault(text: "\(directory.path)/\(name): \(error.text)") }
        do throws(TLSFault) {
            let key = try SigningKey(pem: pem)
            // Whether it can be used shows now, and not with somebody's message. RFC 8301 3.2: receivers refuse shorter keys.
            let signature = try key.sign([])
            if key.algorithm != "rsa-sha256" || signature.count >= 128 { return key }
        } catch { throw SigningFault(text: "\(directory.path)/\(name): \(error.text)") }
        throw SigningFault(text: "\(directory.path)/\(name): an RSA key must have 1024 bits at least")
    }
}
