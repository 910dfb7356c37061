// What provision knows of a container: one line of run/containers/OWNER. Pure.

struct ContainerState: Sendable, Equatable {
    enum Kind: Sendable, Equatable { case running, stopped, missing }

    let kind: Kind
    /// Seconds since 1970 of its last start; 0: not known.
    let started: Int

    /// `running`, `exited` or `missing`, and after a tab when it was started.
    init?(_ line: String) {
        let parts = line.prefix { !$0.isNewline }.split(separator: "\t", omittingEmptySubsequences: false)
        switch parts.first {
        case nil, "": return nil
        case "running", "restarting": kind = .running
        case "missing": kind = .missing
        default: kind = .stopped
        }
        started = parts.count > 1 ? Int(parts[1]) ?? 0 : 0
    }
}
