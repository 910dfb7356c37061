// The keys of people. To be written: here are only the names.
import Control
import Mail

public struct SSHKeys { public init(_ home: Home) throws {}
 public func replace(owner: String, keys: [String], container: String) throws {}
 public func remove(owner: String) throws {}
 public func makeHostKey(owner: String) throws {}
}
