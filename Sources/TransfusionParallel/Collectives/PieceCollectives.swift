internal import TransfusionCore

/// The four operations from which a transport makes all of `Collectives`.
///
/// Buffers are bytes, and a piece is the range of bytes that a rank owns. Every sum is the binary tree over the ranks
/// that `Reduction.combine` describes, so the result's bits depend neither on the transport nor on message sizes.
protocol PieceCollectives: Communicator {
    var name: String { get }
    var watch: CollectiveWatch { get }

    func allReduce(_ values: UnsafeMutableRawBufferPointer, _ reduction: Reduction, site: StaticString) throws
    /// Leaves the combination of `values[pieces[rank]]` there. The bytes of other pieces may change or stay.
    func reduceScatter(
        _ values: UnsafeMutableRawBufferPointer, pieces: [Range<Int>], _ reduction: Reduction, site: StaticString
    ) throws
    func allGather(_ values: UnsafeMutableRawBufferPointer, pieces: [Range<Int>], site: StaticString) throws
    func synchronize(site: StaticString) throws
}

extension PieceCollectives {
    func allReduceSum(_ values: UnsafeMutableBufferPointer<Float>, site: StaticString) throws {
        try watch.during(site, group: name) {
            try allReduce(UnsafeMutableRawBufferPointer(values), .sumFloat, site: site)
        }
    }

    func allReduceSum(_ values: UnsafeMutableBufferPointer<Double>, site: StaticString) throws {
        try watch.during(site, group: name) {
            try allReduce(UnsafeMutableRawBufferPointer(values), .sumDouble, site: site)
        }
    }

    func allReduceMax(_ values: UnsafeMutableBufferPointer<Float>, site: StaticString) throws {
        try watch.during(site, group: name) {
            try allReduce(UnsafeMutableRawBufferPointer(values), .maxFloat, site: site)
        }
    }

    func reduceScatterSum(_ values: UnsafeMutableBufferPointer<Float>, offsets: [Int], site: StaticString) throws {
        let bytes = UnsafeMutableRawBufferPointer(values)
        let pieces = pieces(offsets, elementBytes: MemoryLayout<Float>.stride, byteCount: bytes.count)
        try watch.during(site, group: name) {
            try reduceScatter(bytes, pieces: pieces, .sumFloat, site: site)
        }
    }

    func allGather(_ bytes: UnsafeMutableRawBufferPointer, offsets: [Int], site: StaticString) throws {
        let pieces = pieces(offsets, elementBytes: 1, byteCount: bytes.count)
        try watch.during(site, group: name) {
            try allGather(bytes, pieces: pieces, site: site)
        }
    }

    func gather(_ message: [UInt8], root: Int, site: StaticString) throws -> [[UInt8]] {
        try watch.during(site, group: name) {
            let (bytes, pieces) = try gatherEverywhere(message, site: site)
            return rank == root ? pieces.map { Array(bytes[$0]) } : []
        }
    }

    func broadcast(_ message: [UInt8], root: Int, site: StaticString) throws -> [UInt8] {
        try watch.during(site, group: name) {
            try gatherEverywhere(rank == root ? message : [], site: site).bytes
        }
    }

    func barrier(site: StaticString) throws {
        try watch.during(site, group: name) { try synchronize(site: site) }
    }

    /// All messages one after the other, and where each lies.
    private func gatherEverywhere(
        _ message: [UInt8], site: StaticString
    ) throws -> (bytes: [UInt8], pieces: [Range<Int>]) {
        let counts = try gatherNumbers([message.count], site: site)
        let offsets: [Int] = counts.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1[0]) }
        let pieces = offsets.adjacentRanges
        var bytes = [UInt8](repeating: 0, count: pieces.last?.upperBound ?? 0)
        bytes.replaceSubrange(pieces[rank], with: message)
        try bytes.withUnsafeMutableBytes { try allGather($0, pieces: pieces, site: site) }
        return (bytes, pieces)
    }

    /// Each rank's numbers, of which each brings equally many.
    func gatherNumbers(_ numbers: [Int], site: StaticString) throws -> [[Int]] {
        var all = [Int](repeating: 0, count: size * numbers.count)
        let ranges = (0..<size).map { $0 * numbers.count..<($0 + 1) * numbers.count }
        all.replaceSubrange(ranges[rank], with: numbers)
        try all.withUnsafeMutableBytes { bytes in
            let pieces = ranges.map { $0.lowerBound * 8..<$0.upperBound * 8 }
            try allGather(bytes, pieces: pieces, site: site)
        }
        return ranges.map { Array(all[$0]) }
    }

    private func pieces(_ offsets: [Int], elementBytes: Int, byteCount: Int) -> [Range<Int>] {
        precondition(
            offsets.count == size + 1 && offsets[0] >= 0 && offsets[size] * elementBytes <= byteCount
                && zip(offsets, offsets.dropFirst()).allSatisfy { $0 <= $1 },
            "\(offsets) are no offsets of \(size) parts of \(byteCount / elementBytes) elements")
        return offsets.map { $0 * elementBytes }.adjacentRanges
    }

    /// `byteCount` bytes in as many pieces as there are ranks, of nearly equal size, each beginning on a cache line.
    func evenPieces(_ byteCount: Int) -> [Range<Int>] {
        let share = (byteCount + size - 1) / size
        let stride = (share + 63) & ~63
        return (0...size).map { min($0 * stride, byteCount) }.adjacentRanges
    }

    func failure(_ reason: CollectiveError.Reason, site: StaticString) -> CollectiveError {
        CollectiveError(rank: rank, group: name, site: site.description, reason: reason)
    }
}

extension [Int] {
    /// The ranges between neighbours.
    fileprivate var adjacentRanges: [Range<Int>] { zip(self, dropFirst()).map { $0..<$1 } }
}

extension Range<Int> {
    /// The `index`-th run of at most `length` in this range; empty beyond its end.
    func chunk(_ index: Int, of length: Int) -> Range<Int> {
        let start = Swift.min(lowerBound + index * length, upperBound)
        return start..<Swift.min(start + length, upperBound)
    }
}

extension [Range<Int>] {
    /// How many chunks of at most `length` the longest range has.
    func chunkCount(of length: Int) -> Int {
        ((map(\.count).max() ?? 0) + length - 1) / length
    }
}
