internal import TransfusionCore

/// How the flat parameter order is cut for reduction, for sharing among the ranks and for the gradient norm.
///
/// *Chunks* are runs of at most `chunkLength` elements of one parameter. They depend on the parameters alone, so that sums
/// over chunks have one order for any number of ranks. *Buckets* are whole parameters that are reduced in one call; each
/// rank owns a run of whole chunks of each bucket.
struct GradientPlan {
    struct Bucket: Equatable {
        /// Where it lies in the flat order, gaps for alignment included.
        let range: Range<Int>
        /// Where each rank's part begins in the flat order, and the end.
        let offsets: [Int]
        /// How many parameters it holds.
        let parameterCount: Int

        func part(of rank: Int) -> Range<Int> { offsets[rank]..<offsets[rank + 1] }
    }

    /// In the order in which a backward pass completes them: matrices from the last one to the first, then the vectors.
    let buckets: [Bucket]
    /// Ascending.
    let chunks: [Range<Int>]
    /// The bucket of each parameter, by its place in the flat order.
    let bucketOfParameter: [Int]

    static let chunkLength = 1 << 14

    /// - Parameters:
    ///   - parameters: The runs of the parameters in the flat order, ascending, in the order of the forward pass.
    ///   - vectorStart: Where the runs of vectors begin.
    ///   - count: The length of the flat order.
    init(
        parameters: [Range<Int>], vectorStart: Int, count: Int, ranks: Int,
        bucketLength: Int = ExchangeSizes.bucketElements
    ) {
        chunks = parameters.flatMap { run in
            stride(from: run.lowerBound, to: run.upperBound, by: Self.chunkLength).map {
                $0..<min($0 + Self.chunkLength, run.upperBound)
            }
        }
        let chunks = chunks
        var planned: [Bucket] = []
        var bucketNumbers = [Int](repeating: 0, count: parameters.count)
        /// Cuts the parameters of `indices`, which lie in `start..<end`, into buckets from the last on.
        func cut(_ indices: Range<Int>, from start: Int, to end: Int) {
            var end = end
            var members = 0
            for index in indices.reversed() {
                members += 1
                bucketNumbers[index] = planned.count
                // The gap before the first parameter belongs to somebody too.
                let first = index == indices.lowerBound ? start : parameters[index].lowerBound
                guard end - first >= bucketLength || index == indices.lowerBound else { continue }
                let offsets = Self.offsets(of: first..<end, chunks: chunks, ranks: ranks)
                planned.append(Bucket(range: first..<end, offsets: offsets, parameterCount: members))
                end = first
                members = 0
            }
        }
        let vectors = parameters.firstIndex { $0.lowerBound >= vectorStart } ?? parameters.count
        cut(0..<vectors, from: 0, to: vectorStart)
        cut(vectors..<parameters.count, from: vectorStart, to: count)
        buckets = planned
        bucketOfParameter = bucketNumbers
    }

    /// The beginnings of chunks that divide a bucket most evenly.
    private static func offsets(of range: Range<Int>, chunks: [Range<Int>], ranks: Int) -> [Int] {
        let first = chunks.partitioningIndex { $0.lowerBound >= range.lowerBound }
        let last = chunks.partitioningIndex { $0.lowerBound >= range.upperBound }
        let starts = chunks[first..<last].map(\.lowerBound)
        var offsets = [range.lowerBound]
        for rank in 1..<max(ranks, 1) {
            let ideal = range.lowerBound + range.count * rank / ranks
            let next = starts.partitioningIndex { $0 >= ideal }
            let nearest = [next - 1, next].filter(starts.indices.contains).map { starts[$0] }
                .min { abs($0 - ideal) < abs($1 - ideal) }
            offsets.append(max(nearest ?? range.upperBound, offsets[rank - 1]))
        }
        return offsets + [range.upperBound]
    }
}

extension Array {
    /// The first index whose element satisfies `belongs`, in an array where all that do come last.
    fileprivate func partitioningIndex(where belongs: (Element) -> Bool) -> Int {
        var low = 0
        var high = count
        while low < high {
            let middle = (low + high) / 2
            if belongs(self[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
