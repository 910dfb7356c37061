// What qrunner holds open from its start to its end.
import Program
import Unix

struct Holdings: ~Copyable {
    /// Who has it decides about the queue.
    let lock: Descriptor
    var trigger: Trigger
    /// nil: nobody may ask, with --once.
    let admin: AdminSocket?
    let deliverer: Template
    let signals: Signals
}
