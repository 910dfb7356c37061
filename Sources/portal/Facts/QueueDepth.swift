// How many messages wait, minute by minute: the file run/depth, which provision keeps. Pure.

struct QueueDepth: Sendable, Equatable {
    struct Sample: Sendable, Equatable {
        let seconds: Int
        let messages: Int
    }

    /// Oldest first.
    let samples: [Sample]

    /// Lines of seconds, tab, number.
    init(_ text: String) {
        samples = text.split(whereSeparator: \.isNewline).compactMap { line in
            let words = line.split(separator: "\t")
            guard words.count == 2, let seconds = Int(words[0]), let messages = Int(words[1]), messages >= 0 else { return nil }
            return Sample(seconds: seconds, messages: messages)
        }
    }

    /// The deepest of each span before `now`; nil where nobody looked.
    func deepest(before now: Int, spans: Int, spanSeconds: Int) -> [Int?] {
        var result = [Int?](repeating: nil, count: spans)
        let start = now - spans * spanSeconds
        for sample in samples where sample.seconds >= start && sample.seconds < now {
            let span = (sample.seconds - start) / spanSeconds
            result[span] = max(result[span] ?? 0, sample.messages)
        }
        return result
    }
}
