// Keys that sign mail. To be written: here are only the names.
import Control
import Mail

public enum DKIMKeys {
 static func ensure(_ home: Home, domain: String) throws -> [(name: String, text: String)] { [] }
 static func remove(_ home: Home, domain: String) throws {}
}
