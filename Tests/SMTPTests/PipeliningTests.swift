// RFC 2920: what may stand together in a group, and what the replies must be waited for.
import SMTP
import Testing

@Suite struct PipeliningTests {
    @Test func aWholeEnvelopeInOneGroup() {
        let conversation = conversation(after: ["EHLO x\r\n", "RSET\r\nMAIL FROM:<a@b>\r\nRCPT TO:<x@semail.test>\r\nRCPT TO:<y@semail.test>\r\nDATA\r\n"])
        #expect(conversation.codes == [220, 250, 250, 250, 250, 250, 354])
    }

    /// 3.1: DATA, EHLO, HELO can only be the last of a group.
    @Test(arguments: [
        ["EHLO x\r\nMAIL FROM:<a@b>\r\n"], ["HELO x\r\nMAIL FROM:<a@b>\r\n"], ["HELO x\r\nN"], ["EHLO x\r\n", "EHLO y\r\nNOOP\r\n"],
        envelopeGroups() + ["DATA\r\nhello\r\n.\r\n"], envelopeGroups() + ["DATA\r\n."], ["EHLO x\r\n", "DATA\r\nNOOP\r\n"], ["EHLO x\r\n", "DATA\r\nMAIL FROM:<a@b>\r\n"],
    ])
    func whatMustEndItsGroup(groups: [String]) {
        let conversation = conversation(after: groups)
        #expect(conversation.statuses.last == "554 5.5.0")
        #expect(conversation.ending == .drained)
        #expect(conversation.messages.isEmpty)
        #expect(conversation.violations == [])
    }

    /// Without EHLO there is no pipelining at all.
    @Test(arguments: ["MAIL FROM:<a@b>\r\nRCPT TO:<x@semail.test>\r\n", "NOOP\r\nNOOP\r\n", "NONSENSE\r\nNOOP\r\n", "RSET\r\nX"])
    func behindHELONothing(text: String) {
        let conversation = conversation(after: ["HELO x\r\n", text])
        #expect(conversation.statuses.last == "554 5.5.0")
        #expect(conversation.ending == .drained)
    }

    @Test func byHandEverything() {
        let conversation = conversation(byHand: true, after: ["HELO x\nMAIL FROM:<a@b>\nRCPT TO:<x@semail.test>\nDATA\nhello\n.\nQUIT\n"])
        #expect(conversation.codes == [220, 250, 250, 250, 354, 250, 221])
        #expect(conversation.pauses == 0)
    }

    /// RFC 5321 3.1 and 4.3.1: the client waits for the greeting.
    @Test func talkingBeforeTheGreeting() {
        let early = Conversation(hasSpokenFirst: true)
        early.send("EHLO x\r\n")
        #expect(early.statuses == ["554 5.5.0"])
        #expect(early.ending == .drained)
        let byHand = Conversation(Conversation.client(byHand: true), hasSpokenFirst: true)
        byHand.send("HELO x\n")
        #expect(byHand.codes == [220, 250])
    }

    @Test func behindQUITNothingIsObeyed() {
        let conversation = conversation(after: ["EHLO x\r\n", "QUIT\r\nMAIL FROM:<a@b>\r\nRCPT TO:<x@semail.test>\r\n"])
        #expect(conversation.codes == [220, 250, 221])
        #expect(conversation.ending == .closed)
        #expect(conversation.lookUps.isEmpty)
    }
}
