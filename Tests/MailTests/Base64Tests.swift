// Base64 (RFC 4648 4): the vectors of the RFC, everything there and back, and nothing taken for it that is not.
import Testing
@testable import Mail

@Suite struct Base64Tests {
    /// RFC 4648 10.
    @Test(arguments: [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="), ("foobar", "Zm9vYmFy")]) func vectors(plain: String, text: String) {
        #expect(Base64.encode(plain.octets).text == text)
        #expect(Base64.decode(text.octets) == plain.octets)
    }

    @Test func everyOctetInEveryPlace() {
        for octet in UInt8(0)...255 {
            for octets in [[octet], [octet, 0], [0, octet], [octet, 0, 0], [0, octet, 0], [0, 0, octet], [octet, octet, octet, octet], [255, octet, 255]] {
                let text = Base64.encode(octets)
                #expect(text.count == (octets.count + 2) / 3 * 4)
                #expect(Base64.decode(text) == octets)
            }
        }
    }

    @Test func randomOctets() {
        var numbers = RepeatableNumbers(state: 9)
        for count in 0..<400 {
            let octets = (0..<count).map { _ in UInt8.random(in: 0...255, using: &numbers) }
            #expect(Base64.decode(Base64.encode(octets)) == octets)
        }
    }

    @Test(arguments: [
        "Z", "Zg", "Zg=", "Zg===", "=", "==", "===", "====", "Zm9=v", "Zg==Zg==", "Zm9v=", "Zm9v==", "Zm9v====", "=Zm9", "Zm 9v", " Zm9v", "Zm9v ", "Zm9v\n", "Zm\r\n9v", "Zm9-", "Zm9_",
        "Zm9*", "Zm9\0", "Zm9ü", "Z===", "*", "Zm9v*",
    ]) func isNone(text: String) { #expect(Base64.decode(text.octets) == nil) }

    @Test func theAlphabet() {
        let alphabet = Set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8)
        for octet in UInt8(0)...255 {
            #expect((Base64.decode([octet, 0x41, 0x41, 0x41]) != nil) == alphabet.contains(octet), "\(octet)")
            #expect((Base64.decode([0x41, 0x41, 0x41, octet]) != nil) == (alphabet.contains(octet) || octet == 0x3d), "\(octet)")
        }
    }
}
