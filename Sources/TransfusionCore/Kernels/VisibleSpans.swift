/// Which keys each query of an attention sees: query `i` sees the keys `start[i] ..< end[i]`, none when that is empty.
public struct VisibleSpans: Sendable, Equatable {
    /// Queries that follow each other, and a range of keys that no query outside the group sees.
    struct Group: Sendable, Equatable {
        let queries: Range<Int>
        let keys: Range<Int>
    }

    public let start: [Int32]
    public let end: [Int32]
    /// How many keys there must be at least.
    public let keyCount: Int
    /// Over all queries, how many keys each sees.
    public let visiblePairs: Int
    /// The queries cut wherever no key is seen from both sides: documents of a packed batch do not meet. Groups are at
    /// least `leastGroup` queries long, the last one excepted.
    let groups: [Group]

    /// Keys are seen by so few queries each that gathering them into tiles does not pay, as in text decoding.
    let prefersRows: Bool

    public var queryCount: Int { start.count }

    /// Shorter groups would cost more for starting than they gain by running side by side.
    static let leastGroup = 256

    private static let fewQueriesPerKey = 4

    public init(start: [Int32], end: [Int32]) {
        precondition(start.count == end.count, "\(start.count) starts and \(end.count) ends of intervals")
        precondition(start.allSatisfy { $0 >= 0 }, "an interval starts before key 0")
        self.start = start
        self.end = end
        let count = start.count
        keyCount = zip(start, end).reduce(0) { $1.1 > $1.0 ? max($0, Int($1.1)) : $0 }

        visiblePairs = zip(start, end).reduce(0) { $0 + max(0, Int($1.1) - Int($1.0)) }
        let firstKey = zip(start, end).reduce(keyCount) { $1.1 > $1.0 ? min($0, Int($1.0)) : $0 }
        prefersRows = visiblePairs <= Self.fewQueriesPerKey * (keyCount - firstKey)

        // The first key that a query from `i` on sees.
        var firstFrom = [Int](repeating: keyCount, count: count + 1)
        for i in stride(from: count - 1, through: 0, by: -1) {
            firstFrom[i] = end[i] > start[i] ? min(firstFrom[i + 1], Int(start[i])) : firstFrom[i + 1]
        }
        var groups: [Group] = []
        var first = 0
        var groupKey = 0
        var keysSeen = 0
        for i in 0..<count {
            if end[i] > start[i] { keysSeen = max(keysSeen, Int(end[i])) }
            let isLast = i + 1 == count
            guard isLast || i + 1 - first >= Self.leastGroup && keysSeen <= firstFrom[i + 1] else { continue }
            let lastKey = isLast ? keyCount : max(keysSeen, groupKey)
            groups.append(Group(queries: first..<i + 1, keys: groupKey..<lastKey))
            first = i + 1
            groupKey = lastKey
        }
        self.groups = groups
    }

    /// The smallest range of keys that holds the intervals of some queries.
    func keys(of queries: Range<Int>) -> Range<Int> {
        var low = keyCount
        var high = 0
        for i in queries where end[i] > start[i] {
            low = min(low, Int(start[i]))
            high = max(high, Int(end[i]))
        }
        return low < high ? low..<high : 0..<0
    }
}
