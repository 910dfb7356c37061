// The pages' templates and the files beside them, which are part of the program.
import Mustache
import Program
import TLS

struct Templates: Sendable {
    private let library: MustacheLibrary

    init() throws {
        var library = MustacheLibrary()
        for (name, bytes) in Embedded.templates {
            do { try library.register(String(decoding: bytes, as: UTF8.self), named: name) } catch { throw Fatal("the template \(name) makes no sense: \(error)", .failed) }
        }
        self.library = library
    }

    func render(_ name: String, _ page: Any) -> String { library.render(page, withTemplate: name) ?? "" }
}

/// Files that a browser asks for besides pages. They change with the program alone, and their URLs with them.
struct Asset: Sendable {
    let name: String
    let type: String
    let bytes: [UInt8]

    static let all = [
        Asset(name: "portal.css", type: "text/css; charset=utf-8", bytes: Embedded.style),
        Asset(name: "portal.js", type: "text/javascript; charset=utf-8", bytes: Embedded.script),
        Asset(name: "icon.svg", type: "image/svg+xml", bytes: Embedded.icon),
    ]

    /// Stands behind the question mark of their URLs.
    static let mark: String = {
        let digest = SHA256Digest()
        for asset in all { digest.update(asset.bytes) }
        return Hex.text(digest.finish().prefix(6))
    }()
}
