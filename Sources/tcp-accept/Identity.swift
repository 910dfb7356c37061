// Whom tcp-accept becomes, and whom the program it starts may become.
import Program
import Unix

/// `user`: nil leaves things as they are. `others`: names joined by commas; nil: nobody.
func become(_ user: String?, startingAs others: String?) throws {
    guard let user else { return }
    let own = try Program.user(user)
    guard let others else { return try Become.user(own) }
    let next = try others.split(separator: ",").map { try Program.user(String($0)) }
    try Become.user(own, startingAs: next.map { $0.uid...$0.uid }, gids: next.map { $0.gid...$0.gid })
}
