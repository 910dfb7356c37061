// Domain names as the DNS has them. A domain in UTF-8 (RFC 6531) is asked for by its A-labels: small letters, then Punycode
// (RFC 3492). Not done: the rest of RFC 5892 and UTS 46, normalisation above all; a name that needs it is not found. Pure.

public enum DomainName {
    /// The form in which it is asked for; nil: this can be no name of a host.
    public static func ascii(_ domain: [UInt8]) -> [UInt8]? {
        guard let text = String(validating: domain, as: UTF8.self) else { return nil }
        var scalars = text.unicodeScalars[...]
        if scalars.last == "." { scalars.removeLast() }
        // RFC 3490 3.1: these are dots too.
        let labels = scalars.split(omittingEmptySubsequences: false) { $0 == "." || $0 == "\u{3002}" || $0 == "\u{ff0e}" || $0 == "\u{ff61}" }
        var name: [UInt8] = []
        for label in labels {
            guard let label = ascii(label: label) else { return nil }
            if !name.isEmpty { name.append(0x2e) }
            name += label
        }
        return name.count <= 253 ? name : nil
    }

    private static func ascii(label: Substring.UnicodeScalarView) -> [UInt8]? {
        var small: [UInt32] = []
        for scalar in label {
            if scalar.isASCII { small.append(scalar.value | (0x41...0x5a ~= scalar.value ? 0x20 : 0)) }
            else { small += scalar.properties.lowercaseMapping.unicodeScalars.map(\.value) }
        }
        let plain = small.filter { $0 < 0x80 }.map(UInt8.init)
        guard plain.allSatisfy({ 0x61...0x7a ~= $0 || 0x30...0x39 ~= $0 || $0 == 0x2d || $0 == 0x5f }) else { return nil }
        var result = plain
        if plain.count < small.count {
            guard small.count <= 63, let encoded = Punycode.encode(small) else { return nil }
            result = Array("xn--".utf8) + encoded
        }
        return 1...63 ~= result.count ? result : nil
    }
}

/// RFC 3492 6.3, with the names used there.
enum Punycode {
    private static let base: UInt32 = 36, tMin: UInt32 = 1, tMax: UInt32 = 26, skew: UInt32 = 38, damp: UInt32 = 700

    /// nil: a number grew too large, as no real label lets it.
    static func encode(_ input: [UInt32]) -> [UInt8]? {
        var output = input.filter { $0 < 0x80 }.map(UInt8.init)
        let basic = UInt32(output.count)
        if basic > 0 { output.append(0x2d) }
        var n: UInt32 = 0x80, delta: UInt32 = 0, bias: UInt32 = 72, handled = basic
        while handled < input.count {
            let m = input.filter { $0 >= n }.min()!
            let (product, overflow) = (m - n).multipliedReportingOverflow(by: handled + 1)
            guard !overflow, product <= .max - delta - 64 else { return nil }
            delta += product
            n = m
            for value in input {
                if value < n { delta += 1 }
                guard value == n else { continue }
                var q = delta, k = base
                while true {
                    let t = k <= bias ? tMin : k >= bias + tMax ? tMax : k - bias
                    if q < t { break }
                    output.append(digit(t + (q - t) % (base - t)))
                    q = (q - t) / (base - t)
                    k += base
                }
                output.append(digit(q))
                bias = adapt(delta, count: handled + 1, isFirst: handled == basic)
                delta = 0
                handled += 1
            }
            delta += 1
            n += 1
        }
        return output
    }

    private static func digit(_ value: UInt32) -> UInt8 { UInt8(value < 26 ? 0x61 + value : 0x30 + value - 26) }

    private static func adapt(_ delta: UInt32, count: UInt32, isFirst: Bool) -> UInt32 {
        var delta = isFirst ? delta / damp : delta / 2
        delta += delta / count
        var k: UInt32 = 0
        while delta > (base - tMin) * tMax / 2 {
            delta /= base - tMin
            k += base
        }
        return k + (base - tMin + 1) * delta / (delta + skew)
    }
}
