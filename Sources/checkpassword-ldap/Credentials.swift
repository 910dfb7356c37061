// What descriptor 3 holds, and whom it means.
import Control
import Directory
import Mail
import Program
import Unix

struct Credentials: ~Copyable {
    let name: [UInt8]
    let password: Secret

    /// nil: it is not what the interface says.
    static func read() throws -> Credentials? {
        let descriptor = Descriptor(owning: 3)
        // One octet more than the interface allows, to see that there is no more.
        let room = UnsafeMutableRawBufferPointer.allocate(byteCount: 513, alignment: 1)
        defer { room.deallocate() }
        var count = 0
        while count < room.count {
            let more: Int
            do throws(SystemError) { more = try IO.read(descriptor.raw, into: UnsafeMutableRawBufferPointer(rebasing: room[count...])) } catch { return nil }
            if more == 0 { break }
            count += more
        }
        guard count <= 512, let first = room[..<count].firstIndex(of: 0), let second = room[(first + 1)..<count].firstIndex(of: 0) else {
            _ = Secret(moving: room)
            return nil
        }
        let name = Array(room[..<first])
        return Credentials(name: name, password: Secret(moving: UnsafeMutableRawBufferPointer(rebasing: room[(first + 1)..<second])))
    }
}

/// The uid that a name stands for: itself, or of a mailbox its owner. nil: there is no such mailbox.
func owner(_ name: [UInt8], _ home: Home) throws -> [UInt8]? {
    guard name.contains(0x40) else { return name }
    guard let address = Address(name) else { return nil }
    // Whose mailbox is being made or unmade is somebody all the same; that it is not open, those say who ask.
    for state in ["", "/.making", "/.leaving"] where state.isEmpty || Path.exists(home.mailboxes + state) {
        if let mailbox = try Mailboxes(home.mailboxes + state).find(address) { return Array(mailbox.owner.utf8) }
    }
    return nil
}

/// What the control files say of the directory. The searcher's password is in a file beside them that is no setting: nobody prints it.
func directorySettings(_ home: Home) throws -> DirectorySettings {
    do {
        let control = try Control(home.control)
        var password: [UInt8] = []
        if try !control.text(.ldapBindDN).isEmpty { password = Array(try Path.contents(home.control + "/ldap-bind-password", limit: 1024).prefix { $0 != 0x0a && $0 != 0 }) }
        return try DirectorySettings(
            servers: control.text(.ldapURI), base: control.text(.ldapBase), filter: control.text(.ldapFilter), searcher: control.text(.ldapBindDN),
            searcherPassword: password, tls: control.text(.ldapTLS), authorities: control.text(.ldapCA), adminGroup: control.text(.ldapAdminGroup))
    } catch let error as ControlError {
        throw Fatal(error.text)
    } catch let error as DirectoryFault {
        throw Fatal(error.text)
    }
}
