// What containers may send, and to whom: two tables of this host's nftables, called semail, beside whatever the engine and the admin
// have there. A table of ours can only forbid; what it lets pass, others may still refuse.
import Unix

public enum Firewall {
    /// Puts both tables in force in one step, in place of what they were.
    static func load(_ network: ContainerNetwork) throws {
        let nft = try Tool("nft")
        // Not every kernel can tell rules the name of a bridge; where one cannot, the addresses alone have to do.
        var result = try nft.run(["-f", "-"], input: Array(rules(network, namesBridges: true).utf8))
        if !result.isDone { result = try nft.run(["-f", "-"], input: Array(rules(network, namesBridges: false).utf8)) }
        guard result.isDone else { throw ProvisioningError("the firewall of the containers cannot be put in force: nft says: \(result.errors.split(whereSeparator: \.isNewline).first ?? "nothing")") }
    }

    /// Both tables are there.
    public static func isInForce() throws -> Bool {
        let nft = try Tool("nft")
        return try ["inet", "bridge"].allSatisfy { try nft.run(["list", "table", $0, "semail"]).isDone }
    }

    /// For nft -f. Established is what this host has begun (SSH into a container) and the answers of the Internet.
    public static func rules(_ network: ContainerNetwork, namesBridges: Bool) -> String {
        """
        table inet semail
        delete table inet semail
        table inet semail {
            # To this host, by whichever of its addresses.
            chain input {
                type filter hook input priority -10; policy accept;
                iifname "\(Engine.bridge)" jump to_host
            }
            chain to_host {
                ct state established,related accept
                ip saddr != \(network.text) drop
                ip daddr \(network.gateway) tcp dport { 25, 587 } accept
                drop
            }
            # To others and from them.
            chain forward {
                type filter hook forward priority -10; policy accept;
                iifname "\(Engine.bridge)" jump to_others
                oifname "\(Engine.bridge)" jump from_others
            }
            chain to_others {
                oifname "\(Engine.bridge)" drop
                meta nfproto ipv6 drop
                ip saddr != \(network.text) drop
                ct state established,related accept
                # Mail goes out by the outgoing server. Who tries another way hears so at once.
                tcp dport { 25, 465, 587 } reject with icmp type admin-prohibited
            }
            chain from_others {
                ct state established,related accept
                drop
            }
        }
        table bridge semail
        delete table bridge semail
        table bridge semail {
            # Between containers nothing passes: this is where a bridge hands on what comes in at one port and leaves by another. These
            # addresses are on no other bridge.
            chain forward {
                type filter hook forward priority 0; policy accept;
                \(namesBridges ? "meta ibrname \"\(Engine.bridge)\" drop" : "")
                ip saddr \(network.text) drop
                arp saddr ip \(network.text) drop
            }
        }

        """
    }
}
