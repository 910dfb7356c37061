// The words of RFC 3461: NOTIFY, RET, and xtext.
import Testing
@testable import Mail

@Suite struct NotificationTests {
    @Test(arguments: [
        ("NEVER", Notify.never, "NEVER"), ("never", .never, "NEVER"), ("SUCCESS", .success, "SUCCESS"), ("FAILURE", .failure, "FAILURE"), ("DELAY", .delay, "DELAY"),
        ("Failure,dElay", [.failure, .delay], "FAILURE,DELAY"),
        ("DELAY,FAILURE,SUCCESS", [.success, .failure, .delay], "SUCCESS,FAILURE,DELAY"), ("SUCCESS,SUCCESS", .success, "SUCCESS"),
    ] as [(String, Notify, String)]) func notify(text: String, expected: Notify, written: String) {
        #expect(Notify(text.octets) == expected)
        #expect(expected.bytes.text == written)
        #expect(Notify(expected.bytes) == expected)
    }

    @Test(arguments: ["", ",", "NEVER,", ",NEVER", "NEVER,NEVER", "NEVER,SUCCESS", "SUCCESS,NEVER", "SUCCESS,", ",SUCCESS", "SUCCESS,,DELAY", "SUCCESS, DELAY", " SUCCESS", "SUCCESS ",
        "SUCCES", "SUCCESSES", "RELAY", "SUCCESS;DELAY", "SUCCESS\tDELAY", "süccess", "SUCCESS\0"])
    func noNotify(text: String) { #expect(Notify(text.octets) == nil) }

    @Test func everyWishIsWrittenAndRead() {
        var seen: Set<[UInt8]> = []
        for raw in UInt8(0)..<8 {
            let notify = Notify(rawValue: raw)
            #expect(Notify(notify.bytes) == notify)
            seen.insert(notify.bytes)
        }
        #expect(seen.count == 8)
    }

    @Test func returned() {
        #expect(Returned(rawValue: "FULL") == .full)
        #expect(Returned(rawValue: "HDRS") == .headers)
        for other in ["", "full", "HDR", "BODY"] { #expect(Returned(rawValue: other) == nil) }
    }

    // MARK: xtext

    @Test(arguments: [("", ""), ("abc", "abc"), ("a+2Bb", "a+b"), ("+3D", "="), ("+20", " "), ("+00", "\0"), ("a+0Ab", "a\nb"), ("+2B+3D", "+="), ("+41", "A"),
        ("~!\"#$%&'()*,-./:;<>?@[\\]^_`{|}", "~!\"#$%&'()*,-./:;<>?@[\\]^_`{|}")])
    func xtext(text: String, expected: String) {
        #expect(XText.decode(text.octets) == expected.octets)
        #expect(XText.isValid(text.octets))
    }

    @Test(arguments: ["+", "a+", "+4", "a+4", "+4g", "+g4", "+4a", "+a4", "+-1", "++41", "+ 41", "=", "a=b", " ", "a b", "\t", "\n", "\0", "\u{7f}", "ü", "+4+1", "+4\n"]) func noXText(text: String) {
        #expect(XText.decode(text.octets) == nil)
        #expect(!XText.isValid(text.octets))
    }

    @Test func everyOctetInXText() {
        for octet in UInt8(0)...255 {
            let text = XText.encode([0x61, octet, 0x62])
            #expect(XText.decode(text) == [0x61, octet, 0x62], "\(octet)")
            #expect(text.allSatisfy { 0x21...0x7e ~= $0 && $0 != 0x3d })
            let isPlain = 0x21...0x7e ~= octet && octet != 0x2b && octet != 0x3d
            #expect(text.count == (isPlain ? 3 : 5))
            #expect((XText.decode([octet]) != nil) == isPlain, "\(octet)")
        }
    }
}
