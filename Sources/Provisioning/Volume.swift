// What a mailbox is kept in: a directory, or a file system of fixed size in an image file or a logical volume. Each step looks first
// whether it was done, so that after a kill the same call completes it; a file system has its name only when it is whole.
import Control
import Unix

public struct Volume: Sendable {
    /// An ext4 with room for a Maildir; and what a loop device can be.
    private static let bounds = 16 << 20...16 << 40

    let home: Home
    let owner: String
    let kind: Keep.Volume
    let octets: Int

    public init(_ home: Home, _ owner: String, _ keep: Keep) {
        self.home = home
        self.owner = owner
        kind = keep.volume
        octets = keep.volumeOctets
    }

    /// What the settings say of new ones.
    static func kind(_ control: borrowing Control) throws -> Keep.Volume {
        switch try control.text(.volumes) {
        case "directory": return .directory
        case "image": return .image
        case "lvm":
            let group = try control.text(.volumeGroup)
            guard !group.isEmpty, group.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f && $0 != 0x2f }) else { throw ProvisioningError("the setting volume-group names no group of logical volumes: semail config volume-group NAME") }
            return .lvm(group: group)
        case let other: throw ProvisioningError("control/volumes: \"\(other)\" is no kind of volume: directory, image or lvm")
        }
    }

    static func require(octets: Int) throws(ProvisioningError) {
        guard bounds.contains(octets) else { throw ProvisioningError("a volume has 16M at least and 16384G at most", .full) }
    }

    /// Where it is mounted: the mailbox's directory.
    public var place: String { "\(home.mounts)/\(owner)" }
    var image: String { "\(home.volumes)/\(owner)" }
    private var logicalName: String { "semail-\(owner)" }

    /// What is mounted.
    private var device: String {
        switch kind {
        case .directory: ""
        case .image: image
        case .lvm(let group): "/dev/\(group)/\(logicalName)"
        }
    }

    private var exists: Bool {
        get throws {
            switch kind {
            case .directory: false
            case .image: try Entry(image) != nil
            case .lvm(let group): try logicalVolumes(group).contains { $0.name == logicalName && $0.isReady }
            }
        }
    }

    public var isMounted: Bool { get throws { try kind == .directory || Mounts.source(at: place) != nil } }

    // MARK: Making

    /// Makes and mounts it. Whatever was done is left as it is.
    func make() throws {
        if kind == .directory { return try makePlace(mode: 0o711) }
        if try isMounted { return }
        if try !exists {
            switch kind {
            case .directory: break
            case .image: try makeImage()
            case .lvm(let group): try makeLogical(group)
            }
        }
        try mount()
    }

    /// The place beneath the mount lets nobody through: mail that comes while nothing is mounted has to wait.
    private func makePlace(mode: UInt32) throws {
        try Path.makeDirectory(place, mode: 0o700)
        try Path.setMode(place, mode)
        try Directory(home.mounts).flush()
    }

    private func makeImage() throws {
        let images = try Directory(home.volumes), fresh = ".\(owner).new"
        try? images.remove(fresh)
        let file = try images.create(fresh, mode: 0o600)
        try IO.setSize(file.raw, octets)
        try file.close()
        try format("\(home.volumes)/\(fresh)")
        try images.rename(fresh, to: images, as: owner)
        try images.flush()
    }

    /// Its root is the owner's directory in mnt/: root's, to be passed through. No blocks are kept back for root.
    private func format(_ path: String) throws {
        try Tool("mkfs.ext4").must(["-q", "-F", "-m", "0", "-L", "semail", "-E", "root_owner=0:0", path])
    }

    // MARK: Mounting

    /// After a start of the host, and where mail was kept when its mailbox was deleted.
    public func mountIfThere() throws {
        if try kind != .directory && !isMounted && exists { try mount() }
    }

    /// One at a time: the kernel would mount an image twice, each time as if it were nobody else's, and neither would see what the other
    /// writes. The lock is mount's own too, which may go on when whoever started it was killed.
    private func mount() throws {
        guard kind == .image else { return try mount(lock: nil) }
        let file = try Path.openReading(image)
        guard Unix.Process.lock(file, until: Clock.monotonicMilliseconds() + 60_000) else { throw ProvisioningError("\(image) has been mounted for a minute now: see what the kernel says (dmesg)") }
        if try !isMounted { try mount(lock: file.raw) }
    }

    private func mount(lock: Int32?) throws {
        if case .lvm(let group) = kind { try Tool("lvchange").must(["-ay", "\(group)/\(logicalName)"]) }
        try check()
        try makePlace(mode: 0o700)
        let options = "nodev,nosuid,noexec,noatime"
        let result = try Tool("mount").run(["-t", "ext4", "-o", kind == .image ? "loop,\(options)" : options, device, place], lock: lock)
        // One that was killed while the kernel was at it may have mounted it all the same.
        guard try result.isDone || isMounted else {
            // It was thought clean, and looked at no further.
            try check(["-f"])
            throw ProvisioningError("\(device) cannot be mounted at \(place): \(result.lastWords)")
        }
        try Path.setMode(place, 0o711)
    }

    /// e2fsck(8): 0 clean, 1 mended; all else needs somebody who looks.
    private func check(_ options: [String] = []) throws {
        let result = try Tool("e2fsck").run(options + ["-p", device], limitSeconds: 3600)
        guard result.status <= 1 else { throw ProvisioningError("the file system of \(owner) is damaged (\(result.lastWords)): run e2fsck -f \(device); when it is whole, it is mounted within a minute") }
    }

    /// A delivery may stay in there for a second more.
    func unmount(forGood: Bool) throws {
        var tries = 0
        while kind != .directory, try Mounts.source(at: place) != nil {
            let result = try Tool("umount").run(forGood && tries > 50 ? ["-l", place] : [place])
            tries += 1
            if result.isDone { continue }
            guard tries < 100 else { throw ProvisioningError("\(place) cannot be unmounted: \(result.lastWords)") }
            Unix.Process.sleep(milliseconds: 100)
        }
    }

    // MARK: Unmaking

    /// Removes it and all that is in it.
    func remove() throws {
        try unmount(forGood: true)
        switch kind {
        case .directory: break
        case .image:
            let images = try Directory(home.volumes)
            for name in [owner, ".\(owner).new"] {
                do throws(SystemError) { try images.remove(name) } catch { if !error.isMissing { throw error } }
            }
            try images.flush()
        case .lvm(let group):
            if try logicalVolumes(group).contains(where: { $0.name == logicalName }) { try Tool("lvremove").must(["-f", "-y", "\(group)/\(logicalName)"]) }
        }
        let mounts = try Directory(home.mounts)
        try Tree.remove(owner, in: mounts)
        try mounts.flush()
    }

    // MARK: Growing

    /// Makes it larger: while it is in use if the kernel can, else `offline` runs around it. Smaller it never gets.
    public func grow(to octets: Int, offline: (() throws -> Void) throws -> Void) throws {
        guard octets >= self.octets else { throw ProvisioningError("a volume can only grow, and this one has \(self.octets) octets already", .full) }
        try Volume.require(octets: octets)
        switch kind {
        case .directory: throw ProvisioningError("\(owner)'s mailbox is in a directory, which has no bound", .badRequest)
        case .image:
            let file = try Directory(home.volumes).open(owner, .readWrite)
            if try IO.status(file.raw).size < octets { try IO.setSize(file.raw, octets) }
            try file.close()
            if let loop = try Mounts.source(at: place) { try Tool("losetup").must(["-c", loop]) }
        case .lvm(let group):
            let size = try logicalVolumes(group).first { $0.name == logicalName }?.octets ?? 0
            if size < octets { try Tool("lvextend").must(["-L", "\(octets)b", "\(group)/\(logicalName)"]) }
        }
        if let mounted = try Mounts.source(at: place), try Tool("resize2fs").run([mounted], limitSeconds: 3600).isDone { return }
        try offline {
            try unmount(forGood: false)
            _ = try Tool("e2fsck").run(["-f", "-p", device], limitSeconds: 3600)
            try Tool("resize2fs").must([device], limitSeconds: 3600)
            try mount()
        }
    }
}

// MARK: Logical volumes

extension Volume {
    private struct Logical {
        let name: String
        let octets: Int
        /// Its file system is whole: a tag says so, which is set after mkfs.
        let isReady: Bool
    }

    private static let readyTag = "semail-ready"

    private func logicalVolumes(_ group: String) throws -> [Logical] {
        let text = try Tool("lvs").must(["--noheadings", "--units", "b", "--nosuffix", "--separator", "\t", "-o", "lv_name,lv_size,lv_tags", group])
        return text.split(separator: "\n").compactMap { line in
            let fields = line.split(separator: "\t", omittingEmptySubsequences: false).map { $0.filter { $0 != " " } }
            guard fields.count == 3, let octets = Int(fields[1]) else { return nil }
            return Logical(name: fields[0], octets: octets, isReady: fields[2].split(separator: ",").contains { $0 == Volume.readyTag })
        }
    }

    private func makeLogical(_ group: String) throws {
        if try !logicalVolumes(group).contains(where: { $0.name == logicalName }) {
            try Tool("lvcreate").must(["-y", "-W", "y", "-L", "\(octets)b", "-n", logicalName, group])
        }
        try Tool("lvchange").must(["-ay", "\(group)/\(logicalName)"])
        try format("/dev/\(group)/\(logicalName)")
        try Tool("lvchange").must(["--addtag", Volume.readyTag, "\(group)/\(logicalName)"])
    }
}
