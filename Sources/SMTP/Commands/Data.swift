// DATA (RFC 5321 4.1.1.4): the content follows, up to a line with a dot alone.
import Mail

extension Dialogue {
    mutating func data(_ argument: ArraySlice<UInt8>) {
        guard argument.isEmpty else { reply("501 5.5.4 DATA takes no argument"); return }
        guard let current = transaction else { reply("503 5.5.1 Say MAIL first"); return }
        guard !current.isChunked else { reply("503 5.5.1 A message begun with BDAT goes on with BDAT"); return }
        guard current.accepted > 0 else {
            reply(current.hasRefused ? "554 5.5.1 No recipient was taken" : "503 5.5.1 Say RCPT first")
            return
        }
        want(.open(envelope()))
    }

    /// The facts of the transaction; the driver adds the time.
    func envelope() -> Envelope {
        var envelope = Envelope(
            received: 0, client: client.address, sender: transaction?.sender, to: transaction?.recipients ?? [],
            is8Bit: transaction?.is8Bit ?? false, isSMTPUTF8: transaction?.isSMTPUTF8 ?? false)
        envelope.submitter = accountable
        envelope.returned = transaction?.returned
        envelope.envelopeID = transaction?.envelopeID
        return envelope
    }

    /// The message file is open, or could not be: on with DATA or BDAT, whichever asked.
    mutating func beginContent(_ result: Result<[UInt8], StoreFault>) {
        if transaction?.isChunked == true {
            // The first chunk is on its way already: it is taken or swallowed, and answered behind its last octet.
            expectContent(.counted)
            return
        }
        switch result {
        case .success:
            expectContent(.dotted)
            mode = .data
            reply("354 Send the message; a dot alone on a line ends it")
        case .failure(let fault):
            reply(fault)
            reset()
        }
    }
}
