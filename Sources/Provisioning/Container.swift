// What a mailbox' container is, as the engine is told; and what the engine tells of one.
import Control
import FoundationEssentials
import Mail
import Unix

struct Container {
    let owner: String
    private let mailbox: Mailbox
    private let address: Address
    private let containerAddress: String
    private let sshDirectory: String
    private let settings: ContainerSettings

    static func name(owner: String) -> String { "semail-\(owner)" }

    init(_ mailbox: Mailbox, _ address: Address, _ home: Home, _ settings: ContainerSettings) throws {
        owner = try Name.owner(mailbox.owner)
        // Users in the image by whom its own programs go.
        guard !["root", "sshd"].contains(owner) else { throw ProvisioningError("\(owner) can have no container: there is another user of that name in every one") }
        guard let containerAddress = mailbox.keep.container, Endpoint.isAddress(containerAddress) else {
            throw ProvisioningError("the mailbox \(address.text) has no address for a container: semail container create \(owner) gives it one")
        }
        guard Path.exists(mailbox.maildir) else { throw ProvisioningError("\(mailbox.maildir) is not there: is its volume mounted?") }
        self.mailbox = mailbox
        self.address = address
        self.containerAddress = containerAddress
        self.settings = settings
        sshDirectory = try SSHKeys(home).directory(of: owner)
    }

    /// By these a container is this mailbox' and no earlier one's.
    private var labels: [String: String] {
        [
            InspectedContainer.ownerLabel: owner, "semail.address": address.text, "semail.user": "\(mailbox.uid):\(mailbox.gid)",
            "semail.container": containerAddress, "semail.maildir": mailbox.maildir, "semail.ssh": sshDirectory,
        ]
    }

    func isMet(by there: InspectedContainer) -> Bool { labels.allSatisfy { there.config.labels?[$0.key] == $0.value } }

    /// Its owner is root in it and may install software (the first line is for apt and dpkg), become others by sudo and be let in by sshd,
    /// which shuts up what strangers talk to with chroot. Not among them: NET_RAW and NET_ADMIN, by which a neighbour's address could be
    /// taken; MKNOD; SYS_ADMIN and its like.
    static let capabilities = [
        "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID",
        "SETUID", "SETGID", "KILL", "SYS_CHROOT", "AUDIT_WRITE", "NET_BIND_SERVICE",
    ]

    /// The body of POST /containers/create.
    var form: EngineForm {
        [
            "Image": .text(settings.image),
            "Hostname": .text(hostname),
            // Older engines read it here, newer ones below.
            "MacAddress": .text(hardwareAddress),
            "Env": .list([
                "SEMAIL_OWNER=\(owner)", "SEMAIL_UID=\(mailbox.uid)", "SEMAIL_GID=\(mailbox.gid)", "SEMAIL_ADDRESS=\(address.text)", "SEMAIL_SERVER=\(settings.network.gateway)",
            ].map { .text($0) }),
            "Labels": .object(labels.mapValues { .text($0) }),
            "HostConfig": .object(hostConfig.merging(limits) { $1 }),
            "NetworkingConfig": ["EndpointsConfig": [Engine.network: ["IPAMConfig": ["IPv4Address": .text(containerAddress)], "MacAddress": .text(hardwareAddress)]]],
        ]
    }

    private var hostConfig: [String: EngineForm] {
        [
            // A bind of what is mounted now: a volume that is mounted anew is seen after the next start.
            "Mounts": [
                ["Type": "bind", "Source": .text(mailbox.maildir), "Target": "/Maildir"],
                ["Type": "bind", "Source": .text(sshDirectory), "Target": "/etc/ssh/semail", "ReadOnly": true],
            ],
            "NetworkMode": .text(Engine.network),
            "CapDrop": ["ALL"],
            "CapAdd": .list(Container.capabilities.map { .text($0) }),
            "Privileged": false,
            // uids are the same inside and out, also where the engine shifts those of other containers.
            "UsernsMode": "host",
            // The network has none; an address that the kernel makes by itself would get round the firewall of the bridge.
            "Sysctls": Path.exists("/proc/sys/net/ipv6/conf/default") ? ["net.ipv6.conf.default.disable_ipv6": "1"] : [:],
            // Whatever the policy, the engine may start it before the firewall and the volume are there: provision starts it, and nobody else.
            "RestartPolicy": ["Name": "no"],
            "LogConfig": ["Type": "json-file", "Config": ["max-size": "1m", "max-file": "2"]],
        ]
    }

    /// No swap: a container that wants more memory than it has loses a process, and nobody waits for a disk.
    private var limits: [String: EngineForm] {
        [
            "Memory": .number(settings.memoryOctets), "MemorySwap": .number(settings.memoryOctets), "NanoCpus": .number(settings.nanoProcessors),
            "PidsLimit": .number(settings.processes),
        ]
    }

    /// The body of POST /containers/NAME/update.
    var limitsForm: EngineForm { .object(limits) }

    func limits(_ there: InspectedContainer) -> Bool {
        let host = there.hostConfig
        return host.memory == settings.memoryOctets && host.nanoCpus == settings.nanoProcessors && host.pidsLimit == settings.processes
    }

    /// Follows from the address, so that this host finds a container that was made anew where it found the old one. 02: of nobody's making.
    private var hardwareAddress: String {
        let octets = containerAddress.split(separator: ".").compactMap { UInt8($0) }
        return (["02", "5e"] + octets.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }).joined(separator: ":")
    }

    /// Letters, digits and hyphens, at most 63 of them.
    private var hostname: String {
        var name = String(owner.map { $0 == "." || $0 == "_" ? "-" : $0 }.prefix(63))
        while name.hasSuffix("-") { name.removeLast() }
        return name
    }
}

/// What GET /containers/NAME/json tells, as far as we ask.
struct InspectedContainer: Decodable {
    struct State: Decodable {
        let status: String
        let startedAt: String?
    }

    struct Config: Decodable { let labels: [String: String]? }

    struct HostConfig: Decodable {
        let memory: Int?
        let nanoCpus: Int?
        let pidsLimit: Int?
    }

    let state: State
    let config: Config
    let hostConfig: HostConfig

    static let ownerLabel = "semail.owner"
    var owner: String? { config.labels?[InspectedContainer.ownerLabel] }
}

/// How a container is.
public struct ContainerState: Equatable, Sendable {
    /// The engine's word: `running`, `exited`, `created`, `restarting`, `paused`, `dead`.
    public let word: String
    /// Seconds since 1970 of its last start; 0: it never was.
    public let since: Int

    public var isRunning: Bool { word == "running" }

    public init(word: String, since: Int) {
        self.word = word
        self.since = since
    }

    init(_ container: InspectedContainer) {
        // `2026-11-23T21:05:13.123456789Z`; the year 1: never.
        let date = container.state.startedAt.flatMap { try? Date(String($0.prefix(19)) + "Z", strategy: .iso8601) }
        self.init(word: container.state.status, since: max(0, Int(date?.timeIntervalSince1970 ?? 0)))
    }
}
