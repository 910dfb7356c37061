// The end of a connection. Closing it while the client still sends would reset it, and take our last words along.
import Unix

enum Parting {
    private static let milliseconds = 2000
    private static let octets = 16 << 20

    static func part(input: Int32, output: Int32) {
        Socket.endWriting(output)
        let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: 16384, alignment: 16)
        let end = Clock.monotonicMilliseconds() + milliseconds
        var left = octets
        while left > 0, case let pause = end - Clock.monotonicMilliseconds(), pause > 0,
              (try? IO.wait(input, forWriting: false, milliseconds: pause)) == true,
              let count = try? IO.read(input, into: buffer), count > 0 { left -= count }
    }
}
