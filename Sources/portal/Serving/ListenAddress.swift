// The setting portal-listen: where the portal is found by the web server in front of it.
import Program
import Unix

/// `127.0.0.1:8080`, `[::1]:8080`, or `0:8080` for all addresses.
struct ListenAddress: Equatable {
    let host: String
    let port: UInt16

    init(_ text: String) throws {
        let parts = text.split(separator: ":", omittingEmptySubsequences: false)
        let portText = parts.last ?? "", rest = parts.dropLast().joined(separator: ":")
        let host = rest.hasPrefix("[") && rest.hasSuffix("]") ? String(rest.dropFirst().dropLast()) : rest
        guard parts.count >= 2, let port = UInt16(portText), host == "0" || Endpoint.isAddress(host), host.contains(":") == rest.hasPrefix("[") else {
            throw Fatal("control/portal-listen: \"\(text)\" is no address and port such as 127.0.0.1:8080 or [::1]:8080", .failed)
        }
        self.host = host
        self.port = port
    }
}
