// What a failed bind means, in words that say what to do.
import Unix

func explain(_ error: SystemError, _ host: String, _ port: String) -> String {
    if error.isInUse { return "port \(port) of \(host) is in use by another program: end it, or choose another port" }
    if error.isDenied { return "port \(port) can be bound by root only: start as root with -u, or choose a port above 1023" }
    if error.code == 22 { return "\(host) is no address: give an IPv4 or IPv6 address, or 0 for all" }
    return error.text
}
