// requests/: the portal adds files to new/, provision takes each up by moving it to taken/, which nobody else can enter, and answers in
// state/. What is in taken/ is not done yet.
import Control
import Unix

public struct RequestBox: ~Copyable {
    /// Answers go after a day.
    private static let answerSeconds = 86400

    public let new: Directory
    let taken: Directory
    let state: Directory

    public init(_ home: Home) throws(SystemError) {
        let root = try Directory(home.requests)
        let new = try root.directory("new"), taken = try root.directory("taken"), state = try root.directory("state")
        self.new = new
        self.taken = taken
        self.state = state
    }

    /// Takes up what is new. Files that are being written begin with a dot; what is no request's name goes.
    public func takeUp() throws(SystemError) {
        for name in try new.names() {
            if Request.isID(name) { try new.rename(name, to: taken) } else { try Tree.remove(name, in: new) }
        }
    }

    /// Requests that are not done, by id.
    public func undone() throws(SystemError) -> [String] { try taken.names().filter(Request.isID) }

    /// Whatever lies there under a request's name: a link or a FIFO is none.
    public func request(_ id: String) throws(ProvisioningError) -> Request {
        let bytes: [UInt8]?
        do throws(SystemError) { bytes = try taken.status(id).isRegular ? taken.contents(id, limit: Request.limit) : nil } catch { throw ProvisioningError(error.text) }
        guard let bytes else { throw Request.malformed("it is no file") }
        return try Request(bytes)
    }

    public func answer(_ id: String) -> RequestState? { (try? state.contents(id, limit: 65536)).flatMap(RequestState.init) }

    public func answer(_ id: String, _ answer: RequestState) throws(SystemError) { try state.replace(id, with: answer.encoded, mode: 0o644) }

    /// A request that cannot even be read is answered so.
    public func refuse(_ id: String, _ refusal: Refusal, _ sentence: String) throws(SystemError) {
        try state.replace(id, with: Array("request\tunknown\nowner\t-\nend\trefused\t\(refusal.rawValue)\t\(sentence)\n".utf8), mode: 0o644)
    }

    /// After its answer has an end. Whatever it is, a directory too.
    public func forget(_ id: String) throws(SystemError) {
        try Tree.remove(id, in: taken)
    }

    public func removeOldAnswers() throws(SystemError) {
        let now = Clock.seconds()
        for name in try state.names() where now - (try state.status(name).modified) > RequestBox.answerSeconds { try? state.remove(name) }
    }
}
