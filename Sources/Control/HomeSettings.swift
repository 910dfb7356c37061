// Settings of what stands around the mail path: which addresses people may choose, their volumes and containers, the DNS, the portal.
// provision, portal and semail read them; no program of the mail path does.

extension Setting {
    public static let domain = Setting("domain", .text, "", "domain beneath which everybody may have a free subdomain; none if empty")
    public static let domainOpen = Setting("domain-open", .choice, "no", "whether addresses right at that domain may be chosen too: yes or no")
    public static let ownDomains = Setting("own-domains", .choice, "yes", "whether people may use domains of their own: yes or no")
    public static let reservedNames = Setting("reserved-names", .lines, "", "names that nobody may choose, besides those that are never given; one per line")
    public static let volumes = Setting("volumes", .text, "directory", "what a mailbox is kept in: directory, image or lvm")
    public static let volumeSize = Setting("volume-size", .size, "5G", "size of a new volume")
    public static let volumeGroup = Setting("volume-group", .text, "", "LVM's group of volumes")
    public static let containerEngine = Setting("container-engine", .text, "", "socket of the engine of containers; no containers if empty")
    public static let containerImage = Setting("container-image", .text, "semail-home", "image of which containers are made")
    public static let containerNetwork = Setting("container-network", .text, "172.30.0.0/16", "addresses of containers")
    public static let containerMemory = Setting("container-memory", .size, "512M", "memory of a container")
    public static let containerProcesses = Setting("container-processes", .count, "512", "processes of a container")
    public static let containerProcessors = Setting("container-processors", .text, "1", "processors of a container, such as 0.5 or 2")
    public static let dnsServer = Setting("dns-server", .text, "", "server that takes changes to the records of the domain; no records are made if empty")
    public static let portalListen = Setting("portal-listen", .text, "127.0.0.1:8080", "address and port of the portal")
    public static let portalURL = Setting("portal-url", .text, "", "where people find the portal")
    public static let imap = Setting("imap", .choice, "no", "whether mail programs find IMAP at port 993: yes or no")
    public static let webmailURL = Setting("webmail-url", .text, "", "where people find the webmail; none if empty")
    public static let ldapAdminGroup = Setting("ldap-admin-group", .text, "", "entry of the directory whose members are the portal's administrators")

    static let ofHomes = [
        domain, domainOpen, ownDomains, reservedNames, volumes, volumeSize, volumeGroup, containerEngine, containerImage, containerNetwork,
        containerMemory, containerProcesses, containerProcessors, dnsServer, portalListen, portalURL, imap, webmailURL, ldapAdminGroup,
    ]
}
