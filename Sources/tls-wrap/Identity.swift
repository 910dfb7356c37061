// Who tls-wrap becomes, and whom the program behind it may become.
import Program
import Unix

enum Identity {
    static func become(_ options: Options) throws {
        guard let name = options.value("u") else {
            if User.isRoot { Log.warning("as-root", .text("reason", "without -u everything runs as root")) }
            return
        }
        let named = try Program.user(name)
        // Started by another than root it may not choose its groups, only have none.
        let user = User(name: named.name, uid: named.uid, gid: named.gid, supplementary: User.isRoot ? named.supplementary : [])
        guard let names = options.value("n") else {
            try Become.user(user)
            return
        }
        let next = try names.split(separator: ",").map { try Program.user(String($0)) }
        try Become.user(user, startingAs: next.map { $0.uid...$0.uid }, gids: next.map { $0.gid...$0.gid })
    }
}
