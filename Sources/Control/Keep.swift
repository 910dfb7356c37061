// What was made for a mailbox besides its Maildir: the volume it is in, a container, records in the DNS. It stands in the mailbox's
// file, so that whoever unmakes the mailbox knows what there is to unmake, whatever the settings say by then.

/// The lines `volume`, `container`, `stopped`, `own-domain`, `keep-mail`, `zone` and `since` of a mailbox's file.
public struct Keep: Equatable, Sendable {
    /// What the Maildir is kept in.
    public enum Volume: Equatable, Sendable {
        /// No more than a directory.
        case directory
        /// A file system in the file volumes/OWNER.
        case image
        /// A logical volume of this group.
        case lvm(group: String)

        /// `image`, `lvm:GROUP`
        public init?(_ text: String) {
            switch text {
            case "directory": self = .directory
            case "image": self = .image
            default:
                guard text.hasPrefix("lvm:"), text.utf8.count > 4 else { return nil }
                self = .lvm(group: String(text.dropFirst(4)))
            }
        }

        public var text: String {
            switch self {
            case .directory: "directory"
            case .image: "image"
            case .lvm(let group): "lvm:\(group)"
            }
        }
    }

    public var volume: Volume
    /// Octets; 0: a directory has no bound.
    public var volumeOctets: Int
    /// The address of its container; nil: it has none.
    public var container: String?
    /// The zone that has its records; nil: none has.
    public var zone: String?
    /// Its domain is the owner's: they set the records, and mail is let in when the MX points here.
    public var isOwnDomain: Bool
    /// Its owner has stopped the container: it stays so when the host starts.
    public var isStopped = false
    /// When the mailbox goes, its mail stays: somebody said so; or it was there before a mailbox that is not made yet.
    public var keepsMail = false
    /// Seconds since 1970; 0: nobody knows.
    public var since: Int

    public init(volume: Volume = .directory, volumeOctets: Int = 0, container: String? = nil, zone: String? = nil, isOwnDomain: Bool = false, since: Int = 0) {
        self.volume = volume
        self.volumeOctets = volumeOctets
        self.container = container
        self.zone = zone
        self.isOwnDomain = isOwnDomain
        self.since = since
    }

    /// Only what differs from a plain directory is written.
    var text: String {
        var text = ""
        if volume != .directory { text += "volume \(volume.text) \(volumeOctets)\n" }
        if let container { text += "container \(container)\n" }
        if isStopped { text += "stopped yes\n" }
        if isOwnDomain { text += "own-domain yes\n" }
        if keepsMail { text += "keep-mail yes\n" }
        if let zone { text += "zone \(zone)\n" }
        if since != 0 { text += "since \(since)\n" }
        return text
    }

    /// false: the value makes no sense. Lines of later versions are passed over.
    mutating func take(_ key: String, _ value: String) -> Bool {
        switch key {
        case "volume":
            let words = value.split(separator: " ")
            guard words.count == 2, let volume = Volume(String(words[0])), let octets = Int(words[1]), octets >= 0 else { return false }
            (self.volume, volumeOctets) = (volume, octets)
        case "container": container = value
        case "stopped": isStopped = value == "yes"
        case "own-domain": isOwnDomain = value == "yes"
        case "keep-mail": keepsMail = value == "yes"
        case "zone": zone = value
        case "since":
            guard let seconds = Int(value) else { return false }
            since = seconds
        default: break
        }
        return true
    }
}
