// What is asked for: a form, and whose Maildir.
import Unix

struct Request {
    enum Form: String { case list, tar, mbox }

    private static let octetsLimit = 512
    private static let milliseconds = 10_000

    let form: Form
    /// An owner, or the path of a Maildir.
    let subject: String

    init(_ form: Form, of subject: String) { (self.form, self.subject) = (form, subject) }

    /// Never of a request that came in a line.
    var isPath: Bool { subject.contains("/") }

    /// nil: it is none.
    static func read(_ source: Int32) throws -> Request? {
        let end = Clock.monotonicMilliseconds() + milliseconds
        var bytes: [UInt8] = []
        while !bytes.contains(0x0a) {
            guard bytes.count < octetsLimit, case let left = end - Clock.monotonicMilliseconds(), left > 0,
                  try IO.wait(source, forWriting: false, milliseconds: left) else { return nil }
            let more = try IO.readSome(source, limit: octetsLimit - bytes.count)
            if more.isEmpty { return nil }
            bytes += more
        }
        let words = String(decoding: bytes.prefix { $0 != 0x0a }, as: UTF8.self).split(separator: " ", omittingEmptySubsequences: false)
        guard words.count == 2, let form = Form(rawValue: String(words[0])), !words[1].isEmpty, !words[1].contains("/"), !words[1].contains("\0") else { return nil }
        return Request(form, of: String(words[1]))
    }
}

extension Request.Form {
    func write(_ maildir: consuming Directory) throws -> Total {
        let output = Output(Descriptor.standardOutput)
        var walk = Walk()
        switch self {
        case .list:
            var counter = Counter()
            try walk.run(maildir, &counter)
            output.append(counter.text)
        case .tar:
            var archive = Archive(output)
            try walk.run(maildir, &archive)
            archive.end()
        case .mbox:
            var mbox = Mbox(output)
            try walk.run(maildir, &mbox)
        }
        try output.finish()
        return walk.total
    }
}
