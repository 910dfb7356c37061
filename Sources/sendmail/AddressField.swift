// Addresses as arguments and header fields have them: those without a domain are of this host.
import Mail

struct AddressField {
    let addresses: [Address]
    /// As written, with the domains added.
    let body: [UInt8]

    /// nil: malformed.
    init?(_ body: [UInt8], domain: () throws(Trouble) -> [UInt8]) throws(Trouble) {
        if let addresses = AddressList.parse(body) { (self.addresses, self.body) = (addresses, body); return }
        guard body.contains(where: { $0 != 0x20 && $0 != 0x09 && $0 != 0x0a }) else { (addresses, self.body) = ([], body); return }
        let places = AddressField.placesWithoutDomain(body)
        if places.isEmpty { return nil }
        let suffix = [0x40] + (try domain())
        var whole = body
        for place in places.reversed() { whole.insert(contentsOf: suffix, at: place) }
        guard let addresses = AddressList.parse(whole) else { return nil }
        (self.addresses, self.body) = (addresses, whole)
    }

    /// Where the local parts end that nothing follows. Of what is no address at all, whatever comes of it is malformed again.
    private static func placesWithoutDomain(_ body: [UInt8]) -> [Int] {
        var places: [Int] = []
        var element = Element()
        var index = 0
        while index < body.count {
            let start = index
            index += 1
            switch body[start] {
            case 0x22: index = end(body, start, 0x22); element.word(start, index)
            case 0x5b: index = end(body, start, 0x5d); element.word(start, index)
            case 0x28: index = AddressList.endOfComment(body, from: index) ?? body.count
            case 0x3c: element.open()
            case 0x3e: element.isOpen = false
            case 0x40: element.hasAt = true
            case 0x2c, 0x3b:
                if let place = element.place { places.append(place) }
                element = Element()
            case 0x3a: element = Element()
            case 0x20, 0x09, 0x0a, 0x0d: break
            default:
                while index < body.count, !Array(" \t\r\n\"[(<>@,;:".utf8).contains(body[index]) { index += 1 }
                element.word(start, index)
            }
        }
        return places + (element.place.map { [$0] } ?? [])
    }

    /// What stands between two commas.
    private struct Element {
        var hasAt = false
        var isOpen = false
        private var isRoute = false
        private var words = 0
        private var end = 0

        /// Between angle brackets only what is there counts.
        mutating func open() { (isOpen, isRoute, hasAt, words) = (true, true, false, 0) }

        mutating func word(_ start: Int, _ end: Int) {
            if isRoute && !isOpen { return }
            // A quoted part of the same word.
            if words == 0 || start != self.end { words += 1 }
            self.end = end
        }

        var place: Int? { words == 1 && !hasAt ? end : nil }
    }

    private static func end(_ body: [UInt8], _ start: Int, _ sign: UInt8) -> Int {
        var index = start + 1
        while index < body.count, body[index] != sign { index += body[index] == 0x5c ? 2 : 1 }
        return min(index + 1, body.count)
    }
}
