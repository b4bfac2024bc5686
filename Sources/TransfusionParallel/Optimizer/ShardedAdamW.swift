public import TransfusionCore

/// AdamW whose state and work are shared by the data-parallel ranks (ZeRO stage 1).
///
/// Gradients are summed in buckets, while the backward pass of the last micro-batch still runs: a bucket goes as soon as
/// all gradients in it are complete. Of each bucket a rank sums its part over all ranks, updates that part of the
/// weights, and gets the others' parts.
///
/// ### References
/// Rajbhandari et al. 2020, "ZeRO", section 5.1 (P_os); the buckets are those of PyTorch's DistributedDataParallel (Li et
/// al. 2020).
public final class ShardedAdamW {
    public let optimizer: AdamW
    private let store: ParameterStore
    private let data: any Collectives
    private let tensor: any Collectives
    private let plan: GradientPlan
    /// Which bucket a parameter is in.
    private let bucketOfParameter: [ObjectIdentifier: Int]
    /// Makes the sums of `reduction: elastic`; nil when micro-batches just add up.
    private let slotSums: SlotSums?
    private let communication = CommunicationThread()

    // The reduction that is under way.
    private var missingParameters: [Int] = []
    private var nextBucket = 0
    private var slotCount = 1

    /// An optimizer with zero moments. `store` has gradients.
    ///
    /// - Parameters:
    ///   - group: The ranks that hold the same part of the model. No other thread may use the group meanwhile.
    ///   - tensor: The ranks that hold the parts of one model.
    ///   - bucketLength: Elements that are reduced at once.
    public init(
        _ store: ParameterStore, group data: any Collectives, tensor: any Collectives = SingleRank(),
        settings: AdamW.Settings, order: ReductionOrder = .fast, pool: ThreadPool, allocator: CachingAllocator,
        bucketLength: Int? = nil
    ) {
        self.store = store
        self.data = data
        self.tensor = tensor
        plan = GradientPlan(
            parameters: store.trained.map { $0.offset..<$0.offset + $0.count }, vectorStart: store.vectorStart,
            count: store.count, ranks: data.size, bucketLength: bucketLength ?? ExchangeSizes.bucketElements)
        missingParameters = plan.buckets.map(\.parameterCount)
        bucketOfParameter = Dictionary(
            uniqueKeysWithValues: zip(store.trained.map { ObjectIdentifier($0) }, plan.bucketOfParameter))
        slotSums =
            order == .elastic ? store.gradients.map { SlotSums($0, pool: pool, allocator: allocator) } : nil
        optimizer = AdamW(
            store, ownedRanges: plan.buckets.map { $0.part(of: data.rank) }.sorted { $0.lowerBound < $1.lowerBound },
            keptRange: Self.share(of: store.frozenRange, data), settings: settings, pool: pool, allocator: allocator)
    }

    /// An equal part of a run for each rank.
    private static func share(of range: Range<Int>, _ group: any Collectives) -> Range<Int> {
        func start(_ rank: Int) -> Int { range.lowerBound + range.count * rank / group.size }
        return start(group.rank)..<start(group.rank + 1)
    }

    deinit {
        communication.stop()
    }

    /// Bytes of this rank's optimizer state and of the sums that `reduction: elastic` keeps.
    public var byteCount: Int { optimizer.byteCount + (slotSums?.byteCount ?? 0) }

    /// The backward pass of one of this rank's micro-batches. With the last one the reduction begins, which
    /// `reduceGradients()` ends.
    ///
    /// - Parameters:
    ///   - slot: The micro-batch's number among this rank's micro-batches of the step.
    ///   - count: How many this rank has. It may differ between ranks unless the order is elastic.
    public func backward(_ context: Context, slot: Int, of count: Int) throws {
        guard slot == count - 1 else {
            try context.backward()
            slotSums?.finish(slot: slot)
            return
        }
        beginReduction(slots: count)
        context.parameterIsReady = { [unowned self] in parameterIsReady($0) }
        defer { context.parameterIsReady = nil }
        try context.backward()
    }

    /// Sums the gradients over the ranks, as far as this rank needs them.
    /// - Returns: The norm of the whole gradient, the same on every rank. Its bits do not depend on the number of
    ///   data-parallel ranks as long as those of the gradients do not.
    public func reduceGradients() throws -> Double {
        // What has got no gradient in this pass (the patch layers, in a batch of text) is complete now as well.
        reduceBuckets(upTo: plan.buckets.count)
        try communication.wait()
        beginReduction(slots: 1)
        var squares = optimizer.squaredNorms(of: plan.chunks)
        try squares.withUnsafeMutableBufferPointer { try data.allReduceSum($0, site: "gradient norm") }
        return try tensor.sum([sumCountedOnce(squares)], site: "gradient norm of the parts")[0].squareRoot()
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
        let ascending = plan.buckets.sorted { $0.range.lowerBound < $1.range.lowerBound }
        optimizer.update(step: step, learningRate: learningRate, gradientFactor: factor) { index in
            // The weights of one bucket travel while the next is updated.
            if data.size > 1 { communication.submit { [unowned self] in try gather(ascending[index]) } }
        }
        try communication.wait()
    }

    private func beginReduction(slots: Int) {
        missingParameters = plan.buckets.map(\.parameterCount)
        nextBucket = 0
        slotCount = slots
    }

    private func parameterIsReady(_ parameter: Parameter) {
        guard let bucket = bucketOfParameter[ObjectIdentifier(parameter)] else { return }
        missingParameters[bucket] -= 1
        // In the plan's order, so that all ranks reduce the same bucket at the same time.
        let complete = missingParameters[nextBucket...].prefix { $0 == 0 }.count
        reduceBuckets(upTo: nextBucket + complete)
    }

    private func reduceBuckets(upTo end: Int) {
        guard nextBucket < end else { return }
        for bucket in plan.buckets[nextBucket..<end] {
            communication.submit { [unowned self] in try reduce(bucket) }
        }
        nextBucket = end
    }

    private func reduce(_ bucket: GradientPlan.Bucket) throws {
        guard let gradients = store.gradients else { return }
        slotSums?.finish(last: bucket.range, of: slotCount)
        try data.reduceScatterSum(
            UnsafeMutableBufferPointer(rebasing: gradients.f32[bucket.range]),
            offsets: bucket.offsets.map { $0 - bucket.range.lowerBound }, site: "gradients")
    }

    private func gather(_ bucket: GradientPlan.Bucket) throws {
        let isMatrix = bucket.range.lowerBound < store.vectorStart
        let values = isMatrix ? store.matrices : store.vectors
        let start = isMatrix ? 0 : store.vectorStart
        let bytes = values.type.byteCount
        let range = (bucket.range.lowerBound - start) * bytes..<(bucket.range.upperBound - start) * bytes
        try data.allGather(
            UnsafeMutableRawBufferPointer(rebasing: values.bytes[range]),
            offsets: bucket.offsets.map { ($0 - bucket.range.lowerBound) * bytes }, site: "weights")
        // The optimizer has zeroed what it owns.
        guard let gradients = store.gradients else { return }
        let own = bucket.part(of: data.rank)
        gradients.f32[bucket.range.lowerBound..<own.lowerBound].update(repeating: 0)
        gradients.f32[own.upperBound..<bucket.range.upperBound].update(repeating: 0)
    }

    /// The sum over the chunks, those that several ranks of the tensor-parallel group hold on one of them only.
    private func sumCountedOnce(_ squares: [Double]) -> Double {
        guard tensor.rank > 0 else { return squares.reduce(0, +) }
        var sum = 0.0
        var chunk = 0
        for parameter in store.trained {
            let chunks = (parameter.count + GradientPlan.chunkLength - 1) / GradientPlan.chunkLength
            if parameter.shard.axis != nil, parameter.shard.replica == 0 {
                sum += squares[chunk..<chunk + chunks].reduce(0, +)
            }
            chunk += chunks
        }
        return sum
    }
}
