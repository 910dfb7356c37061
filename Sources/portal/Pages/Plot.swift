// A picture of numbers over time, as SVG: bars that stand on each other, a scale, and hours. Colours are the style's, by class; what it
// shows is also said in words, for those who do not see it. Pure.

struct Plot: Sendable {
    struct Series: Sendable {
        /// The class of its bars.
        let name: String
        /// One for each span; nil where nothing is known.
        let values: [Double?]
    }

    private static let width = 720, height = 220, left = 56, right = 8, top = 12, bottom = 32

    let title: String
    let text: String
    let series: [Series]
    /// Seconds since 1970 of the end of the last span.
    let end: Int
    let spanSeconds: Int
    private let words: Words

    init(title: String, text: String, series: [Series], end: Int, spanSeconds: Int, _ words: Words) {
        self.title = title
        self.text = text
        self.series = series
        self.end = end
        self.spanSeconds = spanSeconds
        self.words = words
    }

    /// The top of the scale: 1, 2 or 5 with zeros, or a multiple of it that four lines divide.
    static func ceiling(_ most: Double) -> Int {
        var step = 1
        while Double(step * 4) < most {
            let digits = String(step)
            step = digits.first == "2" ? step / 2 * 5 : step * 2
        }
        return step * 4
    }

    var svg: String {
        let spans = series.first?.values.count ?? 0
        let sums = (0..<spans).map { span in series.reduce(0) { $0 + ($1.values[span] ?? 0) } }
        let ceiling = Plot.ceiling(sums.max() ?? 0)
        let plotWidth = Double(Plot.width - Plot.left - Plot.right), plotHeight = Double(Plot.height - Plot.top - Plot.bottom)
        func y(_ value: Double) -> Double { Double(Plot.top) + plotHeight * (1 - value / Double(ceiling)) }
        func x(_ span: Double) -> Double { Double(Plot.left) + plotWidth * span / Double(max(1, spans)) }
        var parts: [String] = []
        for line in 0...4 {
            let value = ceiling * line / 4, height = Plot.number(y(Double(value)))
            parts.append("<line class=\"rule\" x1=\"\(Plot.left)\" x2=\"\(Plot.width - Plot.right)\" y1=\"\(height)\" y2=\"\(height)\"/>")
            parts.append("<text class=\"scale\" x=\"\(Plot.left - 6)\" y=\"\(height)\" dy=\"4\" text-anchor=\"end\">\(value)</text>")
        }
        for span in 0..<spans {
            let time = end - (spans - span) * spanSeconds
            // One at an edge would be cut off.
            if time % (4 * 3600) == 0, 3..<max(3, spans - 3) ~= span {
                parts.append("<text class=\"scale\" x=\"\(Plot.number(x(Double(span))))\" y=\"\(Plot.height - 8)\" text-anchor=\"middle\">\(words.clock(time))</text>")
            }
            var base = 0.0
            for one in series {
                guard let value = one.values[span], value > 0 else { continue }
                let upper = y(base + value), lower = y(base)
                parts.append(
                    "<rect class=\"\(one.name)\" x=\"\(Plot.number(x(Double(span)) + 0.5))\" y=\"\(Plot.number(upper))\" "
                        + "width=\"\(Plot.number(plotWidth / Double(spans) - 1))\" height=\"\(Plot.number(lower - upper))\"/>")
                base += value
            }
        }
        return "<svg class=\"plot\" viewBox=\"0 0 \(Plot.width) \(Plot.height)\" role=\"img\" aria-label=\"\(Plot.escaped(title)). \(Plot.escaped(text))\">"
            + parts.joined() + "</svg><p class=\"help\">\(Plot.escaped(text)) (UTC)</p>"
    }

    /// Two digits behind the point are finer than any screen.
    private static func number(_ value: Double) -> String {
        let hundredths = Int((value * 100).rounded())
        let rest = abs(hundredths % 100)
        return "\(hundredths < 0 && hundredths > -100 ? "-" : "")\(hundredths / 100)" + (rest == 0 ? "" : rest < 10 ? ".0\(rest)" : ".\(rest)")
    }

    private static func escaped(_ text: String) -> String {
        text.map { ["<": "&lt;", ">": "&gt;", "&": "&amp;", "\"": "&quot;", "'": "&#39;"][$0] ?? String($0) }.joined()
    }
}
