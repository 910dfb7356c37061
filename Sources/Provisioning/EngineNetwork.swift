// The network of the containers, as the engine keeps it: a bridge of its own, whose first address is this host's.
import Unix

extension Engine {
    static let network = "semail"
    /// The bridge, as this host's interfaces and the firewall know it.
    static let bridge = "semail0"

    private struct Inspected: Decodable {
        struct IPAM: Decodable {
            struct Config: Decodable {
                let subnet: String?
                let gateway: String?
            }
            let config: [Config]?
        }
        let iPAM: IPAM
        let options: [String: String]?
    }

    func ensureNetwork() throws {
        if try isNetworkThere() { return }
        var answer = try socket.call("POST", "/networks/create", form(isClosed: true))
        // The engine closes a bridge by the kernel's br_netfilter, which not every host has. The firewall closes this one anyway.
        if !answer.isDone, answer.message.contains("br_netfilter") || answer.message.contains("inter-container") {
            answer = try socket.call("POST", "/networks/create", form(isClosed: false))
        }
        if answer.isDone { return }
        // Another call was quicker, and the network shows when that has ended.
        for _ in 0..<50 {
            if try isNetworkThere() { return }
            Unix.Process.sleep(milliseconds: 100)
        }
        throw ProvisioningError(
            "the engine of containers does not make the network \(settings.network.text): \(answer.message); semail config container-network NETWORK names another")
    }

    private func isNetworkThere() throws -> Bool {
        let answer = try socket.call("GET", "/networks/\(Engine.network)")
        if answer.status == 404 { return false }
        guard answer.isDone else { throw ProvisioningError("the engine of containers does not tell of the network \(Engine.network): \(answer.message)") }
        let there = try answer.decoded(Inspected.self)
        let subnet = there.iPAM.config?.first?.subnet ?? "no addresses"
        guard subnet == settings.network.text else {
            throw ProvisioningError(
                "the network of the containers is \(subnet), and container-network says \(settings.network.text): set it back; or delete all containers, "
                    + "then the network (docker network rm \(Engine.network))")
        }
        let bridge = there.options?["com.docker.network.bridge.name"]
        guard bridge == nil || bridge == Engine.bridge else {
            throw ProvisioningError("a network named \(Engine.network) is there and not of our making: remove it (docker network rm \(Engine.network)), then try again")
        }
        return true
    }

    private func form(isClosed: Bool) -> EngineForm {
        [
            "Name": .text(Engine.network), "Driver": "bridge", "CheckDuplicate": true, "EnableIPv6": false,
            "IPAM": ["Driver": "default", "Config": [["Subnet": .text(settings.network.text), "Gateway": .text(settings.network.gateway)]]],
            "Options": [
                "com.docker.network.bridge.name": .text(Engine.bridge), "com.docker.network.bridge.enable_icc": isClosed ? "false" : "true",
                "com.docker.network.bridge.enable_ip_masquerade": "true",
            ],
            "Labels": ["semail.network": .text(settings.network.text)],
        ]
    }
}
