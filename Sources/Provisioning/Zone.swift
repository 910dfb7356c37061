// Records in the DNS. To be written: here are only the names.
import Control
import Mail

public struct Zone { public static func open(_ home: Home) throws -> Zone? { nil }
 public func add(_ address: Address, owner: String, dkim: [(name: String, text: String)]) throws {}
 public func remove(_ address: Address, owner: String) throws {}
}
