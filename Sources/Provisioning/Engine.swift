// The containers of mailboxes. To be written: here are only the names.
import Control
import Mail

public struct ContainerState { public var word = "", since = 0; public var isRunning: Bool { word == "running" } }
public struct Engine { 
 public static func open(_ home: Home) throws -> Engine? { nil }
 public func prepare() throws {}
 public func ensure(_ mailbox: Mailbox, _ address: Address) throws {}
 public func remove(owner: String) throws {}
 public func start(owner: String) throws {}
 public func stop(owner: String) throws {}
 public func restart(owner: String) throws {}
 public func rebuild(_ mailbox: Mailbox, _ address: Address) throws {}
 public func states() throws -> [String: ContainerState] { [:] }
}
