/// Places documents of known lengths into the rows of some consecutive steps.
///
/// The documents are shared out to the steps in their order, and in each step to its rows, the longest first (of equally long
/// ones the first), each to the row with the most room: so all rows are filled alike, and most documents keep their step. Those
/// that find no room in their step go to the emptiest rows of the others. If one finds none there either, all are placed
/// anew, more tightly: row after row, each time the longest document left that fits (first fit decreasing), or the
/// two that fill the rest best.
struct RowPacking {
    /// The documents of each row, by their index; step after step, unless `isTight`.
    private(set) var rows: [[Int32]]
    /// Whether the rows are those of the second way, the longest documents in the first.
    private(set) var isTight = false
    /// Those that found no room.
    private(set) var leftOver: [Int32] = []

    private let lengths: ArraySlice<Int32>
    private let rowLength: Int
    /// The longest first.
    private let order: [Int32]

    /// - Parameter lengths: Of each document, all at least 1 and at most `rowLength`.
    init(_ lengths: ArraySlice<Int32>, steps: Int, rowsOfStep: Int, rowLength: Int) {
        precondition(lengths.startIndex == 0)
        self.lengths = lengths
        self.rowLength = rowLength
        // A length and an index in one number.
        order = lengths.indices.map { UInt64(UInt32.max - UInt32(lengths[$0])) << 32 | UInt64($0) }.sorted()
            .map { Int32(truncatingIfNeeded: $0) }
        rows = [[Int32]](repeating: [], count: steps * rowsOfStep)
        if let even = evenRows(steps: steps, rowsOfStep: rowsOfStep) {
            rows = even
        } else {
            isTight = true
            placeTightly()
        }
    }

    /// The rows in the first way; nil when a document finds no room.
    private func evenRows(steps: Int, rowsOfStep: Int) -> [[Int32]]? {
        var rows = rows
        var heaps = (0..<steps).map { EmptiestRow($0 * rowsOfStep..<($0 + 1) * rowsOfStep) }
        func place(_ document: Int32, in heap: inout EmptiestRow) -> Bool {
            let length = Int(lengths[Int(document)])
            guard heap.filled + length <= rowLength else { return false }
            rows[heap.row].append(document)
            heap.fill(length)
            return true
        }
        var late: [Int32] = []
        for document in order where !place(document, in: &heaps[Int(document) * steps / lengths.count]) {
            late.append(document)
        }
        if late.isEmpty { return rows }
        var all = EmptiestRow(merging: heaps)
        for document in late where !place(document, in: &all) { return nil }
        return rows
    }

    private mutating func placeTightly() {
        // Runs of equally long documents, the longest run first; `next[run]` leads to the first at or after it with any left.
        var starts: [Int] = [], ends: [Int] = [], sizes: [Int] = []
        for (place, document) in order.enumerated() {
            let length = Int(lengths[Int(document)])
            if sizes.last != length {
                starts.append(place)
                ends.append(place)
                sizes.append(length)
            }
            ends[ends.count - 1] = place + 1
        }
        var next = Array(0...sizes.count)
        func firstLeft(_ run: Int) -> Int {
            var root = run
            while next[root] != root { root = next[root] }
            var walked = run
            while next[walked] != root { (walked, next[walked]) = (next[walked], root) }
            return root
        }
        func take(_ run: Int, into row: Int) {
            rows[row].append(order[starts[run]])
            starts[run] += 1
            if starts[run] == ends[run] { next[run] = run + 1 }
        }
        /// The longest that fits, of those left.
        func longest(_ room: Int) -> Int { firstLeft(Self.firstNotLonger(than: room, sizes)) }
        var shortest = sizes.count - 1
        for row in rows.indices {
            var room = rowLength
            while true {
                while shortest >= 0, starts[shortest] == ends[shortest] { shortest -= 1 }
                guard shortest >= 0, sizes[shortest] <= room else { break }
                // Nothing is placed that would leave room for no other, unless it leaves none.
                var run = longest(room)
                if sizes[run] != room, room - sizes[run] < sizes[shortest], room >= 2 * sizes[shortest] {
                    // The two that fill the room best.
                    var best = sizes[run], first = longest(room - sizes[shortest])
                    for _ in 0..<512 where first < sizes.count {
                        let second = longest(room - sizes[first])
                        guard second < sizes.count, second >= first else { break }
                        let sum = sizes[first] + sizes[second]
                        if sum > best, first != second || ends[first] - starts[first] > 1 {
                            (best, run) = (sum, first)
                            if best == room { break }
                        }
                        first = firstLeft(first + 1)
                    }
                }
                take(run, into: row)
                room -= sizes[run]
            }
        }
        for run in sizes.indices { leftOver += order[starts[run]..<ends[run]] }
    }

    /// The first of descending sizes that is not longer than `room`.
    private static func firstNotLonger(than room: Int, _ sizes: [Int]) -> Int {
        var low = 0
        var high = sizes.count
        while low < high {
            let middle = (low + high) / 2
            if sizes[middle] <= room { high = middle } else { low = middle + 1 }
        }
        return low
    }
}

/// A binary heap of rows with the emptiest at its root, of equally filled ones the first.
private struct EmptiestRow {
    /// How far a row is filled and its number, in one number.
    private var heap: [UInt64]

    /// Empty rows.
    init(_ rows: Range<Int>) { heap = rows.map { UInt64($0) } }

    /// The rows of several heaps. A sorted array is a heap.
    init(merging heaps: [EmptiestRow]) { heap = heaps.flatMap(\.heap).sorted() }

    var row: Int { Int(heap[0] & 0xFFFF_FFFF) }
    var filled: Int { Int(heap[0] >> 32) }

    /// Adds to the filling of the root.
    mutating func fill(_ length: Int) {
        let value = heap[0] + UInt64(length) << 32
        var place = 0
        while true {
            var child = 2 * place + 1
            guard child < heap.count else { break }
            if child + 1 < heap.count, heap[child + 1] < heap[child] { child += 1 }
            guard heap[child] < value else { break }
            heap[place] = heap[child]
            place = child
        }
        heap[place] = value
    }
}
