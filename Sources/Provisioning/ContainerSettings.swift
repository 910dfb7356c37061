// What the control files say about containers, as numbers.
import Control
import Unix

struct ContainerSettings: Sendable {
    /// Path of the engine's socket.
    let socket: String
    let image: String
    let network: ContainerNetwork
    let memoryOctets: Int
    let processes: Int
    /// Thousand-millionths of a processor, as the engine counts them.
    let nanoProcessors: Int

    /// nil: there are no containers here.
    init?(_ home: Home) throws {
        let control = try Control(home.control)
        let socket = try control.text(.containerEngine)
        if socket.isEmpty { return nil }
        guard socket.hasPrefix("/") else { throw ProvisioningError("control/container-engine: \"\(socket)\" is no path of a socket, such as /run/docker.sock") }
        self.socket = socket
        image = try control.text(.containerImage)
        network = try ContainerNetwork(control.text(.containerNetwork))
        memoryOctets = try control.number(.containerMemory)
        processes = try control.number(.containerProcesses)
        let processors = try control.text(.containerProcessors)
        guard let number = Double(processors), number >= 0.01, number <= 1024 else {
            throw ProvisioningError("control/container-processors: \"\(processors)\" is no number of processors, such as 0.5 or 2")
        }
        nanoProcessors = Int((number * 1_000_000_000).rounded())
    }
}
