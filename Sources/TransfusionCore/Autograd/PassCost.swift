/// Floating-point operations of matrix products, a multiply-add as two.
///
/// They are those of the whole model: a tensor-parallel rank counts what its group computes together. What is computed
/// again in the backward pass brings nothing and is counted apart (docs/performance.md).
public struct FloatingPointWork: Sendable, Equatable {
    public var operations = 0.0
    public var recomputed = 0.0

    public init() {}
}

/// What a pass takes, found by running its code with sizes only.
public struct PassCost: Sendable, Equatable {
    /// The most that tensors take at once beyond those that were there before, in blocks of the allocator.
    public var peakBytes: Int
    /// The memory that all blocks of the pass have got from the system by its end.
    public var residentBytes: Int
    public var work: FloatingPointWork
    /// Bytes that a rank exchanges with its tensor-parallel group.
    public var exchangedBytes: Double

    /// - Parameters:
    ///   - tensorParallel: A rank of the group; counts what is exchanged.
    ///   - context: With sizes only, and of that rank.
    public init(
        _ context: Context, _ tensorParallel: PlannedRank, of pass: () throws -> Void
    ) rethrows {
        precondition(context.isSizesOnly && context.tensorParallel === tensorParallel)
        let allocator = context.allocator
        let live = allocator.liveBytes, resident = allocator.residentBytes
        let work = context.work, exchanged = tensorParallel.exchangedBytes
        allocator.resetPeak()
        try pass()
        peakBytes = allocator.peakBytes - live
        residentBytes = allocator.residentBytes - resident
        self.work = FloatingPointWork()
        self.work.operations = context.work.operations - work.operations
        self.work.recomputed = context.work.recomputed - work.recomputed
        exchangedBytes = tensorParallel.exchangedBytes - exchanged
    }

    /// The pass over so many times as many rows.
    package func repeated(_ count: Int) -> PassCost {
        var all = self
        all.peakBytes *= count
        all.residentBytes *= count
        all.work.operations *= Double(count)
        all.work.recomputed *= Double(count)
        all.exchangedBytes *= Double(count)
        return all
    }

    /// What lies between two passes in operations and exchange, and needs the memory of the larger one.
    ///
    /// - Parameter share: 0 for `self`, 1 for `larger`.
    package func averaged(with larger: PassCost, share: Double) -> PassCost {
        func between(_ a: Double, _ b: Double) -> Double { a + share * (b - a) }
        var average = larger
        average.work.operations = between(work.operations, larger.work.operations)
        average.work.recomputed = between(work.recomputed, larger.work.recomputed)
        average.exchangedBytes = between(exchangedBytes, larger.exchangedBytes)
        return average
    }
}
