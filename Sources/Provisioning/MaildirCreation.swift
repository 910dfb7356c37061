// The Maildir within its volume.
import Control
import Unix

enum MaildirCreation {
    /// mnt/OWNER is ours and can be passed through; the Maildir is the owner's alone. It is handed over last: a Maildir that
    /// has its owner is whole.
    static func make(_ mailbox: Mailbox, _ home: Home) throws {
        let maildir = mailbox.maildir, parent = mailbox.volume
        let before = try Entry(maildir)
        if let before, before.uid == mailbox.uid, User.isRoot {
            // It is in other hands: root makes nothing in it, where a link could lead elsewhere.
            for inner in ["tmp", "new", "cur"] where try Entry(maildir + "/" + inner)?.kind != .directory {
                throw ProvisioningError(
                    "\(maildir) has no directory \(inner): run: install -d -o \(mailbox.uid) -g \(mailbox.gid) -m 0700 \(maildir)/\(inner)")
            }
        } else {
            try Path.makeDirectory(maildir, mode: 0o700)
            for inner in ["tmp", "new", "cur"] {
                try Path.makeDirectory(maildir + "/" + inner, mode: 0o700)
                if User.isRoot { try Path.setOwner(maildir + "/" + inner, uid: mailbox.uid, gid: mailbox.gid) }
            }
            if User.isRoot { try Path.setOwner(maildir, uid: mailbox.uid, gid: mailbox.gid) }
        }
        for path in [maildir, parent, home.mounts] { try Directory(path).flush() }
    }
}
