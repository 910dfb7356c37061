// The containers of mailboxes, as the engine on this host (Docker, or Podman) keeps them: one for each owner, named semail-OWNER, with
// a fixed address on the network `semail`. Everything here may be repeated, and may have been cut off anywhere: it looks at what is
// there and does what is missing. What a container is stands in the mailbox' file and in the engine, nowhere else.
import Control
import Mail
import Unix

public struct Engine: Sendable {
    let home: Home
    let settings: ContainerSettings
    let socket: EngineSocket

    /// nil: the setting container-engine is empty, and there are no containers here.
    public static func open(_ home: Home) throws -> Engine? { try ContainerSettings(home).map { Engine(home, $0) } }

    public init(_ home: Home) throws {
        guard let settings = try ContainerSettings(home) else {
            throw ProvisioningError("there are no containers here: semail config container-engine PATH names the engine's socket, such as /run/docker.sock")
        }
        self.init(home, settings)
    }

    private init(_ home: Home, _ settings: ContainerSettings) {
        self.home = home
        self.settings = settings
        socket = EngineSocket(path: settings.socket)
    }

    /// The firewall first: no container is ever on the network without it.
    public func prepare() throws {
        try Firewall.load(settings.network)
        try ensureNetwork()
    }

    /// The owner's container, made if it is missing, made anew if it is an earlier mailbox', running unless its owner wants it stopped.
    public func ensure(_ mailbox: Mailbox, _ address: Address) throws {
        let wanted = try Container(mailbox, address, home, settings)
        try SSHKeys(home).makeHostKey(owner: mailbox.owner)
        var present = try inspect(mailbox.owner)
        if let there = present, !wanted.isMet(by: there) {
            try remove(owner: mailbox.owner)
            present = nil
        }
        if let there = present { try limit(there, wanted) } else { try create(wanted) }
        if !mailbox.keep.isStopped { try begin(mailbox.owner) }
    }

    /// What was installed and kept in the container is lost; the Maildir, the keys and the container's host key stay.
    public func rebuild(_ mailbox: Mailbox, _ address: Address) throws {
        // Whoever is at work in it is told first.
        if try inspect(mailbox.owner) != nil { _ = try socket.call("POST", "\(path(mailbox.owner))/stop?t=\(Engine.patienceSeconds)", limitSeconds: 60) }
        try remove(owner: mailbox.owner)
        try ensure(mailbox, address)
    }

    /// Whether there was one or not. Once this has returned, nothing holds the Maildir's volume any more.
    public func remove(owner: String) throws {
        let end = Clock.monotonicMilliseconds() + 60_000
        while try inspect(owner) != nil {
            let answer = try socket.call("DELETE", "\(path(owner))?force=true&v=true", limitSeconds: 60)
            if answer.isDone || answer.status == 404 { continue }
            // 409: another call removes it; 500: something of it is held for a moment.
            guard [409, 500].contains(answer.status), Clock.monotonicMilliseconds() < end else { throw refusal("remove", owner, answer) }
            Unix.Process.sleep(milliseconds: 200)
        }
    }

    public func start(owner: String) throws {
        try require(owner)
        try begin(owner)
    }

    /// It stays stopped, also when the engine or the host starts again.
    public func stop(owner: String) throws {
        try require(owner)
        let answer = try socket.call("POST", "\(path(owner))/stop?t=\(Engine.patienceSeconds)", limitSeconds: 60)
        guard answer.isDone || answer.status == 304 else { throw refusal("stop", owner, answer) }
    }

    public func restart(owner: String) throws {
        try require(owner)
        let answer = try socket.call("POST", "\(path(owner))/restart?t=\(Engine.patienceSeconds)", limitSeconds: 60)
        guard answer.isDone else { throw refusal("restart", owner, answer) }
    }

    /// Every container of ours, by its owner; also of owners who have no mailbox any more.
    public func states() throws -> [String: ContainerState] {
        struct Listed: Decodable { let id: String }
        // {"label":["semail.owner"]}
        let answer = try socket.call("GET", "/containers/json?all=true&filters=%7B%22label%22%3A%5B%22semail.owner%22%5D%7D")
        guard answer.isDone else { throw ProvisioningError("the engine of containers does not list them: \(answer.message)") }
        var ids = try answer.decoded([Listed].self).map(\.id)[...]
        var states: [String: ContainerState] = [:]
        while !ids.isEmpty {
            for answer in try socket.get(ids.prefix(50).map { "/containers/\($0)/json" }) {
                // Gone meanwhile.
                if answer.status == 404 { continue }
                guard answer.isDone else { throw ProvisioningError("the engine of containers does not tell of one: \(answer.message)") }
                let container = try answer.decoded(InspectedContainer.self)
                if let owner = container.owner { states[owner] = ContainerState(container) }
            }
            ids = ids.dropFirst(50)
        }
        return states
    }

    /// Whether new containers can be made.
    public func hasImage() throws -> Bool {
        let answer = try socket.call("GET", "/images/\(settings.image)/json")
        guard answer.isDone || answer.status == 404 else { throw ProvisioningError("the engine of containers does not tell of the image \(settings.image): \(answer.message)") }
        return answer.isDone
    }

    // MARK: Steps

    /// A container is given so long to end.
    private static let patienceSeconds = 10

    func path(_ owner: String) throws -> String { "/containers/\(Container.name(owner: try Name.owner(owner)))" }

    /// nil: there is none.
    func inspect(_ owner: String) throws -> InspectedContainer? {
        let answer = try socket.call("GET", "\(path(owner))/json")
        if answer.status == 404 { return nil }
        guard answer.isDone else { throw refusal("look at", owner, answer) }
        let container = try answer.decoded(InspectedContainer.self)
        guard container.owner == owner else {
            throw ProvisioningError("a container named \(Container.name(owner: owner)) is there and not of our making: rename it or remove it (docker rename, docker rm), then try again")
        }
        return container
    }

    private func require(_ owner: String) throws {
        if try inspect(owner) == nil { throw ProvisioningError("\(owner) has no container: semail container create \(owner) makes it", .noContainer) }
    }

    private func create(_ wanted: Container) throws {
        let answer = try socket.call("POST", "/containers/create?name=\(Container.name(owner: wanted.owner))", wanted.form)
        if answer.isDone { return }
        // Another call was quicker; if it is not ours after all, this says so.
        if answer.status == 409, try inspect(wanted.owner) != nil { return }
        if answer.status == 404, answer.message.lowercased().contains("image") {
            throw ProvisioningError("the engine of containers has no image \(settings.image): install.sh builds it (etc/container/build)")
        }
        throw refusal("make", wanted.owner, answer)
    }

    private func begin(_ owner: String) throws {
        var answer = try socket.call("POST", "\(path(owner))/start", limitSeconds: 120)
        if !answer.isDone, answer.message.contains("network") {
            // The engine's data was lost, or somebody has tidied up.
            try prepare()
            answer = try socket.call("POST", "\(path(owner))/start", limitSeconds: 120)
        }
        guard answer.isDone || answer.status == 304 else { throw refusal("start", owner, answer) }
        // The firewall goes by the bridge's name. An engine that gives it another, or has it in another network than ours, is none for us.
        let interfaces = String(decoding: try Path.contents("/proc/net/dev"), as: UTF8.self)
        guard interfaces.split(separator: "\n").contains(where: { $0.drop(while: { $0 == " " }).hasPrefix(Engine.bridge + ":") }) else {
            _ = try socket.call("POST", "\(path(owner))/stop?t=1", limitSeconds: 60)
            throw ProvisioningError("the engine of containers at \(settings.socket) has no bridge \(Engine.bridge) on this host, by which the firewall knows containers: use Docker, or Podman 4 or newer, of this host")
        }
    }

    /// What the settings say by now holds at once, for containers that run too.
    private func limit(_ there: InspectedContainer, _ wanted: Container) throws {
        if wanted.limits(there) { return }
        let answer = try socket.call("POST", "\(path(wanted.owner))/update", wanted.limitsForm)
        guard answer.isDone else { throw refusal("limit", wanted.owner, answer) }
    }

    private func refusal(_ what: String, _ owner: String, _ answer: EngineSocket.Answer) -> ProvisioningError {
        ProvisioningError("the engine of containers does not \(what) \(Container.name(owner: owner)): \(answer.message)")
    }
}
