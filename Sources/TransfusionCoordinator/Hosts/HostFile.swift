internal import TransfusionConfig

/// A file of hosts as people write it for Open MPI, MPICH or Slurm: a host a line, with `slots=N` or `:N` behind it.
///
///     node01 slots=2          # Open MPI; also max_slots=N, and spaces around the "="
///     node02:2                # MPICH
///     node[03-05,07] slots=4  # Slurm's short form of several names
///     anna@node08 slots=2     # reached as another user
///     [::1]:2                 # an address of IP version 6
///
/// Lines end with LF or CRLF; `#` begins a comment. A host that comes again has the slots of both lines.
struct HostFile {
    private(set) var hosts: [ComputeHost] = []
    private let path: String

    private static let mostSlots = 65536
    private static let mostHosts = 65536

    init(_ text: String, path: String) throws(CommandFailure) {
        self.path = path
        // The mark that some editors put before the first line.
        let text = text.hasPrefix("\u{FEFF}") ? text.dropFirst() : text[...]
        for (index, line) in text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).enumerated() {
            try read(line.prefix { $0 != "#" }, number: index + 1)
        }
        guard !hosts.isEmpty else { throw CommandFailure("\(path): names no host", .wrongUse) }
    }

    private mutating func read(_ line: Substring, number: Int) throws(CommandFailure) {
        let words = line.replacing(/\s*=\s*/, with: "=").split(whereSeparator: \.isWhitespace)
        guard let first = words.first else { return }
        guard let (names, count) = Self.hosts(first) else {
            throw problem(number, "\"\(first.prefix(60))\" is no name of a host")
        }
        var slots = count, most: Int?
        for word in words.dropFirst() {
            let parts = word.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2, let value = Self.slots(parts[1]) else {
                throw problem(number, "\"\(word.prefix(60))\" is not of the form slots=N")
            }
            switch parts[0].lowercased().replacing("-", with: "_") {
            case "slots", "cpu", "cpus", "count": slots = value
            case "max_slots", "slots_max": most = value
            default: throw problem(number, "\"\(word.prefix(60))\" is not of the form slots=N")
            }
        }
        let taken = min(slots ?? 1, most ?? .max)
        for name in names {
            if let index = hosts.firstIndex(where: { $0.name == name }) {
                hosts[index].slots += taken
            } else {
                hosts.append(ComputeHost(name: name, slots: taken))
            }
        }
        if hosts.count > Self.mostHosts { throw problem(number, "names more than \(Self.mostHosts) hosts") }
    }

    private func problem(_ line: Int, _ text: String) -> CommandFailure {
        CommandFailure("\(path):\(line): \(text)", .wrongUse)
    }

    // MARK: Words

    /// The hosts that a word names, and the slots that it gives each.
    private static func hosts(_ word: Substring) -> (names: [String], slots: Int?)? {
        let at = word.lastIndex(of: "@")
        let user = at.map { word[...$0] } ?? "", rest = at.map { word[word.index(after: $0)...] } ?? word
        // The name goes onto command lines of ssh and mpirun.
        guard user.isEmpty || isName(user.dropLast()) else { return nil }
        if rest.hasPrefix("["), let end = rest.firstIndex(of: "]"), isAddress(rest[..<end].dropFirst()) {
            let tail = rest[rest.index(after: end)...]
            guard let slots = slotsBehindColon(tail) else { return nil }
            return ([String(user) + rest[..<end].dropFirst()], slots)
        }
        if isAddress(rest) { return ([String(user + rest)], nil) }
        let colon = rest.firstIndex(of: ":") ?? rest.endIndex
        guard let slots = slotsBehindColon(rest[colon...]), let names = expanded(rest[..<colon]) else { return nil }
        return (names.map { user + $0 }, slots)
    }

    /// - Returns: nil when that is no number of slots, and a nil within when there is none.
    private static func slotsBehindColon(_ text: Substring) -> Int?? {
        if text.isEmpty { return .some(nil) }
        guard text.first == ":", let count = slots(text.dropFirst()) else { return nil }
        return .some(count)
    }

    private static func slots(_ text: Substring) -> Int? {
        Int(text).flatMap { (1...mostSlots).contains($0) ? $0 : nil }
    }

    /// `node[01-03,7]` as node01, node02, node03 and node7.
    private static func expanded(_ text: Substring) -> [String]? {
        guard let open = text.firstIndex(of: "[") else { return isName(text) ? [String(text)] : nil }
        guard let close = text[open...].firstIndex(of: "]"), isName(text[..<open]) else { return nil }
        let tail = text[text.index(after: close)...]
        guard tail.allSatisfy(isOfName) else { return nil }
        var names: [String] = []
        for part in text[open..<close].dropFirst().split(separator: ",", omittingEmptySubsequences: false) {
            let ends = part.split(separator: "-", maxSplits: 1, omittingEmptySubsequences: false)
            guard let first = ends.first, let last = ends.last, let from = Int(first), let to = Int(last), from >= 0,
                from <= to, to - from < mostHosts
            else { return nil }
            for number in from...to {
                let digits = String(number)
                let padding = String(repeating: "0", count: max(0, first.count - digits.count))
                names.append(text[..<open] + padding + digits + tail)
            }
            guard names.count <= mostHosts else { return nil }
        }
        return names
    }

    private static func isName(_ text: Substring) -> Bool {
        text.count <= 253 && text.first.map { $0 != "-" && $0 != "." && isOfName($0) } ?? false
            && text.allSatisfy(isOfName)
    }

    private static func isOfName(_ character: Character) -> Bool {
        character.isASCII && (character.isLetter || character.isNumber || ".-_".contains(character))
    }

    /// An address of IP version 6, perhaps with the name of an interface.
    private static func isAddress(_ text: Substring) -> Bool {
        let parts = text.split(separator: "%", maxSplits: 1, omittingEmptySubsequences: false)
        guard let address = parts.first, address.count(where: { $0 == ":" }) >= 2 else { return false }
        return address.allSatisfy { $0.isASCII && ($0.isHexDigit || $0 == ":" || $0 == ".") }
            && parts.dropFirst().allSatisfy(isName)
    }
}
