// Whom tcp-accept becomes, and whom the program it starts may become.
import Program
import Unix

/// `user`: nil leaves things as they are. `others`: names, and ranges of numbers, joined by commas; nil: nobody.
func become(_ user: String?, startingAs others: String?) throws {
    guard let user else { return }
    let own = try Program.user(user)
    guard let others else { return try Become.user(own) }
    let next = try others.split(separator: ",").map { try identities(String($0)) }
    try Become.user(own, startingAs: next.map(\.uids), gids: next.map(\.gids))
}

/// `semail-smtpd`, `30001:30001`, or `30000-59999`: users who have no names, each with the group of the same number.
private func identities(_ text: String) throws -> (uids: ClosedRange<UInt32>, gids: ClosedRange<UInt32>) {
    let ends = text.split(separator: "-", omittingEmptySubsequences: false).map { UInt32($0) }
    if ends.count == 2, let first = ends[0], let last = ends[1] {
        guard first > 0, first <= last, last < UInt32.max else { throw UsageError("\(text) is no range of uids such as 30000-59999") }
        return (first...last, first...last)
    }
    let user = try Program.user(text)
    return (user.uid...user.uid, user.gid...user.gid)
}
