/// Names of several files in one: `shard-{000..012}.tar`, `{a,b}.tar`, and lists of such joined by `::`.
enum BraceList {
    /// More names are refused.
    static let mostNames = 1_000_000

    /// - Parameter option: The option that has it, for errors.
    /// - Throws: `DataError` of wrong use when a brace is not closed, a range runs backwards, or the names are too many.
    static func names(of pattern: String, option: String) throws(DataError) -> [String] {
        var names: [String] = []
        for part in Self.parts(of: pattern) { names += try expand(part, option: option, room: mostNames - names.count) }
        return names
    }

    private static func parts(of pattern: String) -> [Substring] {
        var parts: [Substring] = []
        var rest = pattern[...]
        while let range = rest.firstRange(of: "::") {
            parts.append(rest[..<range.lowerBound])
            rest = rest[range.upperBound...]
        }
        return (parts + [rest]).filter { !$0.isEmpty }
    }

    private static func expand(_ part: Substring, option: String, room: Int) throws(DataError) -> [String] {
        var names = [""]
        var rest = part
        while let open = rest.firstIndex(of: "{") {
            guard let close = rest[open...].firstIndex(of: "}") else {
                throw DataError(wrongUse: "\(option): \(part): a brace is not closed")
            }
            let choices = try choices(in: rest[rest.index(after: open)..<close], of: part, option: option)
            guard choices.count <= room / max(1, names.count) else {
                throw DataError(wrongUse: "\(option): \(part): more than \(mostNames) names; give it in several parts")
            }
            names = names.flatMap { name in choices.map { name + rest[..<open] + $0 } }
            rest = rest[rest.index(after: close)...]
        }
        return names.map { $0 + rest }
    }

    private static func choices(
        in group: Substring, of part: Substring, option: String
    ) throws(DataError) -> [String] {
        guard let dots = group.firstRange(of: "..") else {
            guard group.contains(",") else {
                throw DataError(
                    wrongUse: "\(option): \(part): {\(group)} is neither a range {000..012} nor a list {a,b}")
            }
            return group.split(separator: ",", omittingEmptySubsequences: false).map(String.init)
        }
        let (from, to) = (group[..<dots.lowerBound], group[dots.upperBound...])
        let isPlain = [from, to].allSatisfy { $0.utf8.allSatisfy { (0x30..<0x3A).contains($0) } }
        guard isPlain, let first = Int(from), let last = Int(to), first <= last, last - first < mostNames else {
            throw DataError(
                wrongUse: "\(option): \(part): {\(group)} is no range of at most \(mostNames) numbers from less to more"
            )
        }
        // As many digits as the longer end where one begins with a zero, as in the shell.
        let isPadded = [from, to].contains { $0.count > 1 && $0.hasPrefix("0") }
        let width = isPadded ? max(from.count, to.count) : 0
        return (first...last).map { number in
            let digits = String(number)
            return String(repeating: "0", count: max(0, width - digits.count)) + digits
        }
    }
}
