// A path of this portal that came back from a browser: where to go after signing in, or after another language was chosen. Anything that
// could lead elsewhere is the start page. Pure.

enum LocalPath {
    static func checked(_ text: String) -> String {
        let bytes = Array(text.utf8)
        // `//host` and `/\host` are other hosts to a browser.
        guard bytes.first == UInt8(ascii: "/"), bytes.count <= 512, bytes.count == 1 || bytes[1] != UInt8(ascii: "/"),
              bytes.allSatisfy({ 0x21...0x7e ~= $0 && $0 != UInt8(ascii: "\\") }) else { return "/" }
        return text
    }
}
