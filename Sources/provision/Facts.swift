// What provision, which may look everywhere, writes down for the portal, which may not.
import Control
import Provisioning
import Queue
import Unix

struct Facts {
    /// A day of minutes, and some.
    private static let mostDepths = 1500

    private let home: Home

    init(_ home: Home) { self.home = home }

    /// run/containers/OWNER: the state of each container, and since when.
    func noteContainers(_ engine: Engine) throws {
        let path = "\(home.run)/containers"
        try Path.makeDirectory(path, mode: 0o755)
        let directory = try Directory(path)
        // Of two who look at once, the one who looked last writes last.
        let lock = try directory.open(".lock", .append)
        while !Process.lock(lock) { Process.sleep(milliseconds: 5) }
        let states = try engine.states()
        for (owner, state) in states {
            let line = Array("\(state.word)\t\(state.since)\n".utf8)
            if (try? directory.contents(owner)) != line { try directory.replace(owner, with: line, mode: 0o644) }
        }
        for name in try directory.names() where states[name] == nil { try directory.remove(name) }
        try lock.close()
    }

    /// run/depth: how many messages are in the queue, a line each minute.
    func noteQueue() throws {
        let store = try QueueStore(home.queue)
        var count = 0
        for place in [QueueStore.Place.new, .hold] + (try store.minutes()).map({ .later(minute: $0) }) {
            guard let names = try? store.list(place) else { continue }
            while names.next() != nil { count += 1 }
        }
        let run = try Directory(home.run)
        let before = (try? run.contents("depth")) ?? []
        let lines = before.split(separator: 10).suffix(Facts.mostDepths - 1) + [Array("\(Clock.seconds())\t\(count)".utf8)[...]]
        try run.replace("depth", with: lines.flatMap { Array($0) + [10] }, mode: 0o644)
    }
}
