// The program that knows passwords: started at once, asked when the question is there, ended when its time is over.
// http://cr.yp.to/checkpwd/interface.html
import Program
import Unix

struct Checker {
    enum Outcome {
        /// The owner; behind a TAB, what else is known of them.
        case accepted(String)
        case refused
        case unavailable(String)
    }

    let pid: Int32
    private let name: String
    private let credentials: Int32
    private let output: Int32
    private let signals: Int32
    private let seconds: Int

    init(_ command: [String], _ environment: Environment, seconds: Int) throws {
        guard let own = Process.ownDirectory() else { throw Fatal("/proc is not mounted: I cannot tell where I am") }
        let path = try Process.find(command[0], environment)
        // What it does not set must not look as if it had.
        var environment = environment
        for name in ["USER", "HOME", "SHELL", "SEMAIL_ADMIN"] { environment[name] = nil }
        let signals = try Signals([Signals.childEnded])
        let question = try Descriptor.pipe(), answer = try Descriptor.pipe()
        let nothing = try Path.openReadWrite("/dev/null")
        pid = try Process.spawn(
            path, command + [own + "/auth-check", "--ok"], environment, descriptors: [nothing.raw, answer.second.raw, Descriptor.standardError, question.first.raw])
        name = command[0]
        self.seconds = seconds
        self.signals = try signals.descriptor.duplicate().release()
        credentials = try question.second.duplicate().release()
        output = try answer.first.duplicate().release()
        Socket.setNonblocking(output)
    }

    /// `credentials`: as they go onto its descriptor 3; at most 512 octets, which a pipe takes at once.
    func ask(_ credentials: [UInt8]) -> Outcome {
        let end = Clock.monotonicMilliseconds() + seconds * 1000
        do throws(SystemError) {
            try IO.writeAll(self.credentials, credentials)
        } catch {
            self.end()
            return .unavailable("\(name) does not take the question: \(error.text)")
        }
        Socket.close(self.credentials)
        var said: [UInt8] = []
        while true {
            take(&said)
            if let (ended, status) = Process.reap(), ended == pid {
                take(&said)
                return outcome(status, said)
            }
            let left = end - Clock.monotonicMilliseconds()
            guard left > 0 else {
                self.end()
                return .unavailable("\(name) has not answered within \(seconds) seconds")
            }
            // Its end, more than what it says, is its answer: somebody else may hold its output.
            _ = try? IO.waitReadable([signals, output], milliseconds: min(left, said.isEmpty ? left : 20))
        }
    }

    /// It is not needed, or not any longer.
    func end() {
        Process.kill(pid, 9 /* SIGKILL */)
        // One that the kernel holds up is left to whoever adopts it.
        var left = 200
        while left > 0, Process.reap() == nil {
            Process.sleep(milliseconds: 1)
            left -= 1
        }
    }

    /// What it says, the end of it.
    private func take(_ said: inout [UInt8]) {
        while let more = try? IO.readSome(output, limit: 1024), !more.isEmpty { said = Array((said + more).suffix(1024)) }
    }

    private func outcome(_ status: Int32, _ said: [UInt8]) -> Outcome {
        switch status {
        case 0:
            // Right only by the word of what runs after it: one that says nothing and ends well has checked nothing.
            let last = said.split(separator: 0x0a, omittingEmptySubsequences: false).dropLast().last ?? []
            guard last.starts(with: Array("ok ".utf8)) else { return .unavailable("\(name) has ended with 0 and not run what it was given") }
            return .accepted(String(decoding: last.dropFirst(3), as: UTF8.self))
        case 1: return .refused
        case 2: return .unavailable("\(name) says it is called wrongly")
        case 111: return .unavailable("\(name) cannot tell now")
        case 256...: return .unavailable("\(name) was ended by signal \(status - 256)")
        default: return .unavailable("\(name) has ended with \(status)")
        }
    }
}

/// `auth-check --ok`: the password is right, and the checkpassword program has set USER, and SEMAIL_ADMIN for an administrator.
func sayWho(_ environment: Environment) -> Ending {
    let user = Array((environment["USER"] ?? "").utf8)
    guard 1...255 ~= user.count, user.allSatisfy({ $0 > 0x20 && $0 != 0x7f && $0 != 0x2f }) else {
        Log.error("nobody", .bytes("user", user))
        return .tryAgain
    }
    let rank = environment["SEMAIL_ADMIN"] == "1" ? Array("\tadmin".utf8) : []
    try? IO.writeAll(Descriptor.standardOutput, Array("ok ".utf8) + user + rank + [0x0a])
    return .done
}
