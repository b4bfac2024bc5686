public import TransfusionCore

/// AdamW whose state and work are shared by the data-parallel ranks (ZeRO stage 1).
///
/// Each rank sums the gradients of its part of the flat parameter order over all ranks, updates that part, and gets the
/// others' parts of the weights.
///
/// ### References
/// Rajbhandari et al. 2020, "ZeRO", section 5.1 (P_os).
public final class ShardedAdamW {
    public let optimizer: AdamW
    private let store: ParameterStore
    private let group: any Collectives
    /// Where each rank's part of the flat order begins, and the end.
    private let offsets: [Int]

    /// An optimizer with zero moments. `store` has gradients.
    public init(
        _ store: ParameterStore, group: any Collectives, settings: AdamW.Settings, pool: ThreadPool,
        allocator: CachingAllocator
    ) {
        self.store = store
        self.group = group
        let blocks = (store.count + Self.block - 1) / Self.block
        offsets = (0...group.size).map { min(store.count, blocks * $0 / group.size * Self.block) }
        optimizer = AdamW(
            store, ownedRanges: [offsets[group.rank]..<offsets[group.rank + 1]], settings: settings, pool: pool,
            allocator: allocator)
    }

    /// Parts begin on whole cache lines of every type.
    private static let block = 64

    /// Sums the gradients over the ranks, as far as this rank needs them.
    /// - Returns: The norm of the whole gradient.
    public func reduceGradients() throws -> Double {
        guard let gradients = store.gradients else { return 0 }
        try group.reduceScatterSum(gradients.f32, offsets: offsets, site: "gradients")
        return try group.sum([optimizer.squaredGradientNorm()], site: "gradient norm")[0].squareRoot()
    }

    /// Updates this rank's part of the weights, and gathers the others'. Gradients are zero afterwards.
    ///
    /// - Parameters:
    ///   - step: The number of the step, from 0.
    ///   - norm: What `reduceGradients()` returned.
    ///   - clipNorm: The largest norm that is not scaled down; 0 does not clip.
    public func update(step: Int, learningRate: Double, norm: Double, clipNorm: Double) throws {
        // PyTorch's clip_grad_norm_ adds 1e-6 too.
        let factor = clipNorm > 0 ? min(1, clipNorm / (norm + 1e-6)) : 1
        optimizer.update(step: step, learningRate: learningRate, gradientFactor: factor)
        guard group.size > 1 else { return }
        if let gradients = store.gradients {
            // The optimizer has zeroed what it owns.
            gradients.f32[..<offsets[group.rank]].update(repeating: 0)
            gradients.f32[offsets[group.rank + 1]...].update(repeating: 0)
        }
        let matrices = offsets.map { min($0, store.vectorStart) * store.type.byteCount }
        try group.allGather(store.matrices.bytes, offsets: matrices, site: "weights")
        let vectors = offsets.map { max(0, $0 - store.vectorStart) * ElementType.f32.byteCount }
        try group.allGather(store.vectors.bytes, offsets: vectors, site: "norms and biases")
    }
}
