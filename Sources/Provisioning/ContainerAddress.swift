// The address of a mailbox' container, for mailboxes that were made before there were containers: it follows from the mailbox' uid, stands
// in its file, and a link of that name says to the outgoing server who connects from there.
import Control
import Mail
import Unix

extension MailboxRegister {
    /// Gives the container its address, unless it has one, and takes note that its owner wants it running. What it returns is what stands in
    /// the mailbox' file.
    public func addContainer(owner: String) throws -> (address: Address, mailbox: Mailbox) {
        guard let found = try mailbox(of: owner), found.inner == nil, let before = found.listed.mailbox else {
            throw ProvisioningError("\(owner) has no mailbox: semail mailbox list shows who has", .noMailbox)
        }
        let address = found.listed.address, network = try ContainerNetwork(control.text(.containerNetwork))
        guard let container = try before.keep.container ?? network.address(uid: before.uid, firstUid: uidRange().lowerBound) else {
            throw ProvisioningError("the network \(network.text) has no address for the uid \(before.uid) of \(owner): widen the setting container-network", .full)
        }
        var mailbox = before
        try change(address) {
            $0.keep.container = container
            $0.keep.isStopped = false
            mailbox = $0
        }
        try complete(address, mailbox)
        return (address, mailbox)
    }
}
