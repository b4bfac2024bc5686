/// What of an import cannot be used: all of it is counted, and as much named as a person reads.
final class BadInput {
    /// How many pictures and lines may be left out.
    let allowed: Int
    private(set) var count = 0
    private(set) var named: [DataError] = []
    /// Lines of what came since somebody asked for them, where somebody does.
    var log: [UInt8]?

    private static let mostNamed = 50

    init(allowed: Int) {
        self.allowed = allowed
    }

    /// Whether there is more of it than may be left out.
    var isOver: Bool { count > allowed }

    func add(_ problem: DataError) {
        count += 1
        log?.append(contentsOf: Array((problem.description + "\n").utf8))
        if named.count < max(allowed, Self.mostNamed) { named.append(problem) }
    }

    /// Ends the import when there is more of it than may be left out.
    func check() throws(BadInputError) {
        guard isOver else { return }
        var lines = named.prefix(Self.mostNamed).map(\.description)
        if count > lines.count { lines.append("… and \(count - lines.count) more") }
        let what = count == 1 ? "1 picture or line" : "\(count) pictures or lines"
        lines.append("\(what) cannot be used; mend what is named above, or leave it out with --skip-bad \(count)")
        throw BadInputError(lines: lines)
    }
}

/// Pictures and lines that an import cannot use, one line each, and the remedy.
public struct BadInputError: Error, CustomStringConvertible {
    public let lines: [String]

    public var description: String { lines.joined(separator: "\n") }
}
