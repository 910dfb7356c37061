// The name of a message in the queue, in log lines and in Received lines.
import Unix

/// Sixteen octets of `0-9a-z`: the time of acceptance in microseconds, so that names sort by age, and a random part, so
/// that two of the same microsecond differ and none can be guessed.
public struct QueueID: Hashable, Sendable {
    public let text: String

    public static func make(microseconds: Int) -> QueueID {
        let digits = Array("0123456789abcdefghjkmnpqrstvwxyz".utf8)
        var value = UInt64(microseconds)
        var random = Random.bits()
        var bytes = [UInt8](repeating: 0x30, count: 16)
        for place in stride(from: 10, through: 0, by: -1) {
            bytes[place] = digits[Int(value & 31)]
            value >>= 5
        }
        for place in 11..<16 {
            bytes[place] = digits[Int(random & 31)]
            random >>= 5
        }
        return QueueID(text: String(decoding: bytes, as: UTF8.self))
    }

    private init(text: String) { self.text = text }

    /// nil: no name this queue would give.
    public init?(_ text: some StringProtocol) {
        guard text.utf8.count == 16, text.utf8.allSatisfy({ 0x30...0x39 ~= $0 || 0x61...0x7a ~= $0 }) else { return nil }
        self.text = String(text)
    }
}
