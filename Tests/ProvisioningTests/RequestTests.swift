// Requests: the grammar between the portal and root.
import Testing

@testable import Provisioning

@Suite struct RequestTests {
    private func parse(_ lines: String...) throws -> Request { try Request(Array((lines.joined(separator: "\n") + "\n").utf8)) }

    private func refusal(_ bytes: [UInt8]) -> Refusal? {
        do throws(ProvisioningError) { _ = try Request(bytes); return nil } catch { return error.refusal }
    }

    private func refusal(_ lines: String...) -> Refusal? { refusal(Array((lines.joined(separator: "\n") + "\n").utf8)) }

    @Test func aCreation() throws {
        let request = try parse("do create", "owner xredon", "address XRedon@Redon.semail.test")
        guard case .create(let address, nil) = request.wanted else { Issue.record("\(request)"); return }
        #expect(address.text == "xredon@redon.semail.test" && request.owner == "xredon" && request.admin == nil && request.word == "create")
    }

    @Test func anAdminChoosesTheSize() throws {
        let request = try parse("do create", "owner xredon", "address x@y.test", "size 2G", "by ssow")
        guard case .create(_, octets: 2 << 30) = request.wanted else { Issue.record("\(request)"); return }
        #expect(request.admin == "ssow")
    }

    @Test(arguments: ["start", "stop", "restart", "rebuild", "check"]) func ordersOfOneWord(word: String) throws {
        let request = try parse("do \(word)", "owner xredon")
        #expect(request.word == word)
        #expect(refusal("do \(word)", "owner xredon", "owner xredon") == .badRequest)
        #expect(refusal("do \(word)", "owner xredon", "id 1") == .badRequest)
        #expect(refusal("do \(word)") == .badRequest)
    }

    @Test func keysAreTwentyAtMost() throws {
        #expect(try parse("do keys", "owner a").wanted == .keys([]))
        let keys = (1...20).map { "key \($0) x y" }
        #expect(try Request(Array((["do keys", "owner a"] + keys).joined(separator: "\n").utf8)).wanted == .keys((1...20).map { "\($0) x y" }))
        #expect(refusal(Array((["do keys", "owner a"] + keys + ["key more"]).joined(separator: "\n").utf8)) == .badRequest)
    }

    @Test(arguments: ["hold", "release", "retry", "cancel"]) func messages(word: String) throws {
        #expect(try parse("do \(word)", "owner a", "id 1k0z7829mgkp68jj").word == word)
        for id in ["../x", "A", "", "a b", String(repeating: "a", count: 33)] { #expect(refusal("do \(word)", "owner a", "id \(id)") == .badRequest) }
    }

    @Test(arguments: ["resize", "suspend", "resume"]) func adminsOnly(word: String) throws {
        let size = word == "resize" ? ["size 1G"] : []
        let lines = ["do \(word)", "owner a"] + size
        #expect(refusal(Array(lines.joined(separator: "\n").utf8)) == .badRequest)
        #expect(try Request(Array((lines + ["by boss"]).joined(separator: "\n").utf8)).admin == "boss")
    }

    @Test func whatIsNoRequest() {
        for text in ["", "\n", "do", "do \n", "owner a\ndo start", "do start\nowner a\nx", "do start\nowner ../a", "do start\nowner .a", "do start\nowner A", "do start\nowner a\r", "do\tstart\nowner a", "do start\nowner a\u{7f}"] {
            #expect(refusal(Array(text.utf8)) != nil, "\(text)")
        }
        #expect(refusal([0x64, 0x6f, 0x20, 0xff, 0x0a]) == .badRequest)
        #expect(refusal([UInt8](repeating: 0x61, count: Request.limit)) == .badRequest)
    }

    @Test func idsAreHexadecimal() {
        #expect(Request.isID(String(repeating: "0af9", count: 8)))
        for text in ["", "0", String(repeating: "0aF9", count: 8), String(repeating: "g", count: 32), String(repeating: "0", count: 33), String(repeating: "é", count: 16)] { #expect(!Request.isID(text)) }
    }
}

@Suite struct RequestStateTests {
    @Test func itIsReadAsItWasWritten() throws {
        let request = try Request(Array("do create\nowner a\naddress a@b.test\n".utf8))
        var state = RequestState(request)
        #expect(state.steps.map(\.step) == Step.allCases)
        state.note(.reserve, .begins)
        state.note(.reserve, .done(milliseconds: 12))
        state.note(.volume, .begins)
        state.failures = (2, "mkfs.ext4: no\troom\nat all")
        for end in [nil, RequestState.End.done, .waiting, .refused(.taken, "it is another's"), .failed("why")] {
            state.end = end
            let again = try #require(RequestState(state.encoded))
            #expect(again.encoded == state.encoded && again.end == end)
        }
        #expect(String(decoding: state.encoded, as: UTF8.self).contains("try\t2\tmkfs.ext4: no room at all\n"))
        #expect(String(decoding: state.encoded, as: UTF8.self).contains("step\treserve\tdone\t12\nstep\tvolume\tdoing\nstep\tcontainer\twaiting\n"))
    }

    @Test func deletionGoesBackwards() throws {
        #expect(RequestState(try Request(Array("do delete\nowner a\naddress a@b.test\n".utf8))).steps.map(\.step) == Step.allCases.reversed())
    }

    @Test func whatMakesNoSenseIsNone() {
        for text in ["", "request\tcreate\n", "request\tcreate\nowner\ta\nend\tnever\n", "request\tcreate\nowner\ta\nstep\tdance\tdone\t1\n", "x\n"] { #expect(RequestState(Array(text.utf8)) == nil, "\(text)") }
    }
}
