// What comes from a browser: forms, cookies, paths, addresses.
import Testing

@testable import portal

@Suite struct FormTests {
    @Test func fieldsAreDecoded() throws {
        let form = try #require(Form("name=anna+b&own=%C3%A9%26%3d&empty=&bare&name=second".utf8))
        #expect(form["name"] == "anna b" && form["own"] == "é&=" && form["empty"] == "" && form["bare"] == "" && form["none"] == "")
        #expect(form.has("bare") && !form.has("none"))
    }

    @Test(arguments: ["a=%zz", "a=%4", "a=%", "a=%ff", "%fe=a"]) func whatIsNoFormIsRefused(text: String) { #expect(Form(text.utf8) == nil) }

    @Test func aFormHasSoManyFieldsAndNoMore() {
        #expect(Form(String(repeating: "a=b&", count: 64).utf8) != nil)
        #expect(Form(String(repeating: "a=b&", count: 65).utf8) == nil)
        #expect(Form("".utf8) == Form())
    }

    @Test func valuesGoThereAndBack() {
        for text in ["", "a b", "ssow@semail.test", "é/?&=%+\u{1F600}", "a\nb\0c"] { #expect(Form("x=\(Form.encoded(text))".utf8)?["x"] == text) }
    }
}

@Suite struct CookieTests {
    @Test func theFirstOfANameCounts() {
        let cookies = Cookies(["a=1; b=2 ;c", "a=3; d="])
        #expect(cookies["a"] == "1" && cookies["b"] == "2" && cookies["c"] == nil && cookies["d"] == "")
    }

    @Test func everyCookieIsProtected() {
        let secure = CookieKind(isSecure: true), plain = CookieKind(isSecure: false)
        #expect(secure.field(secure.session, "x") == "__Host-semail-session=x; Path=/; HttpOnly; SameSite=Strict; Secure")
        #expect(plain.field(plain.session, "x", seconds: 0) == "semail-session=x; Path=/; HttpOnly; SameSite=Strict; Max-Age=0")
    }
}

@Suite struct PathTests {
    @Test(arguments: ["/", "/home", "/log/1k0z3zqffjwafqwe?x=%2F"]) func ownPathsStay(path: String) { #expect(LocalPath.checked(path) == path) }

    @Test(arguments: ["", "home", "//evil.test", "/\\evil.test", "https://evil.test", "javascript:x", "/a b", "/a\r\nb", "/é", "/" + String(repeating: "a", count: 600)])
    func othersLeadToTheStart(path: String) { #expect(LocalPath.checked(path) == "/") }

    @Test func addressesToListenAt() throws {
        let plain = try ListenAddress("127.0.0.1:8080"), six = try ListenAddress("[::1]:80"), all = try ListenAddress("0:0")
        #expect(plain.host == "127.0.0.1" && plain.port == 8080 && six.host == "::1" && six.port == 80 && all.host == "0" && all.port == 0)
        for text in ["", "8080", ":8080", "127.0.0.1", "localhost:1", "::1:80", "[127.0.0.1]:80", "127.0.0.1:65536", "127.0.0.1:x"] { #expect(throws: (any Error).self) { try ListenAddress(text) } }
    }

    @Test func textsInJSONCannotLeaveIt() {
        #expect(JSON.object(["a\"": .text("</script>\n\\\u{2028}é"), "b": .flag(true)]) == "{\"a\\\"\":\"\\u003c/script\\u003e\\u000a\\\\\\u2028é\",\"b\":true}")
    }
}

@Suite struct SecretTests {
    @Test func theyDifferAndHaveTheirLength() {
        let one = Secret.make(octets: 32), other = Secret.make(octets: 32)
        #expect(one != other && Secret.isOne(one, octets: 32) && !Secret.isOne(one, octets: 16) && !Secret.isOne(one.uppercased(), octets: 32))
    }

    /// Each octet counts, the last as the first; a difference is not taken back by another.
    @Test func onlyTheSameMatches() {
        #expect(Secret.matches("abc", "abc") && Secret.matches("", ""))
        for other in ["abd", "bbc", "ab", "abcd", "", "ABC", "abb", "cba", "acb"] { #expect(!Secret.matches("abc", other), "\(other)") }
        let one = Secret.make(octets: 32)
        for place in 0..<64 {
            var bytes = Array(one.utf8)
            bytes[place] ^= 1
            #expect(!Secret.matches(one, String(decoding: bytes, as: UTF8.self)))
            bytes[63 - place] ^= 1
            #expect(Secret.matches(one, String(decoding: bytes, as: UTF8.self)) == (place == 63 - place))
        }
    }

    @Test func aVisitorsTokenIsOfThatCookieAndThatProcess() {
        let visitors = Visitors(), others = Visitors()
        let (cookie, isNew) = visitors.cookie(nil)
        #expect(isNew && !visitors.cookie(cookie).isNew && visitors.cookie("x").isNew && visitors.cookie(cookie.uppercased()).isNew)
        #expect(visitors.token(cookie) == visitors.token(cookie) && visitors.token(cookie) != others.token(cookie) && visitors.token(cookie) != visitors.token(visitors.cookie(nil).value))
    }
}
