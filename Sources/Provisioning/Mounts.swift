// What is mounted where, by the kernel's own list.
import Unix

enum Mounts {
    /// The source of what is mounted at this path last; nil: nothing is.
    static func source(at path: String) throws(SystemError) -> String? {
        let text = String(decoding: try Path.contents("/proc/self/mountinfo", limit: 1 << 26), as: UTF8.self)
        var source: String?
        // proc(5): `36 35 98:0 /root /mount/point options - type source superoptions`
        for line in text.split(separator: "\n") {
            let words = line.split(separator: " ")
            guard words.count > 6, unescaped(words[4]) == path, let dash = words.firstIndex(of: "-"), dash + 2 < words.count else { continue }
            source = unescaped(words[dash + 2])
        }
        return source
    }

    /// Spaces and their like stand there as a backslash and three octal digits.
    private static func unescaped(_ text: Substring) -> String {
        var bytes: [UInt8] = [], rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            guard byte == 0x5c, rest.count >= 3, let number = UInt8(String(decoding: rest.prefix(3), as: UTF8.self), radix: 8) else { bytes.append(byte); continue }
            bytes.append(number)
            rest.removeFirst(3)
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
