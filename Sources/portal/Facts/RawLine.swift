// A line of a log before it is taken apart: most lines are nobody's, and seeing that must cost little. Pure.
import Queue

struct RawLine: Collection {
    enum Mark {
        case queued, by, client, to

        var bytes: StaticString {
            switch self {
            case .queued: ": queued id="
            case .by: " by="
            case .client: " client="
            case .to: " to="
            }
        }
    }

    let bytes: UnsafeBufferPointer<UInt8>

    var startIndex: Int { bytes.startIndex }
    var endIndex: Int { bytes.endIndex }
    subscript(index: Int) -> UInt8 { bytes[index] }
    func index(after index: Int) -> Int { index + 1 }

    func has(_ mark: Mark) -> Bool { end(of: mark.bytes) != nil }

    /// The message it is about.
    var id: QueueID? { end(of: " id=").flatMap { QueueID(String(decoding: bytes[$0...].prefix(16), as: UTF8.self)) } }

    /// A value without spaces, as it is written.
    func value(_ mark: Mark) -> String? {
        end(of: mark.bytes).map { String(decoding: bytes[$0...].prefix { $0 != 0x20 }, as: UTF8.self) }
    }

    /// What became of a delivery, if the line tells of one.
    var outcome: MessageEvent.Kind? {
        // Behind the time: `qrunner: info: delivered id=`
        for (text, kind) in [(": delivered id=" as StaticString, MessageEvent.Kind.delivered), (": relayed id=", .relayed), (": deferred id=", .deferred), (": failed id=", .failed)] where end(of: text) != nil {
            return kind
        }
        return nil
    }

    /// The place behind the first of these octets.
    private func end(of text: StaticString) -> Int? {
        let count = text.utf8CodeUnitCount, start = text.utf8Start
        guard bytes.count >= count else { return nil }
        let first = start[0]
        for place in 0...(bytes.count - count) where bytes[place] == first {
            var matched = 1
            while matched < count, bytes[place + matched] == start[matched] { matched += 1 }
            if matched == count { return place + count }
        }
        return nil
    }
}
