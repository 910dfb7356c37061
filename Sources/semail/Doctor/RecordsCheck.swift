// Whether the records of mailboxes can be made: the name server answers, and knows the key.
import Control
import Provisioning
import Unix

enum RecordsCheck {
    /// Asks for a change that changes nothing. Nothing is said where no records are made, or the key is not ours to read.
    static func findings(_ home: Home) throws -> [Finding.Result] {
        guard User.isRoot, let zone = try Zone.open(home) else { return [] }
        do { _ = try zone.isFree("semail-doctor") } catch let error as ProvisioningError {
            return [.mend("mailboxes at \(zone.name) get no records: \(error.text)", "see dns-server in semail-control(5), and Records in provision(8)")]
        }
        return [.well("the name server takes signed changes of \(zone.name)")]
    }
}
