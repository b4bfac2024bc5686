public import TransfusionCore

extension TransfusionModel {
    /// Rows of a pass beyond which one sequence stands for all: each takes the same.
    private static let mostPlannedRows = 1 << 20

    /// What forward and backward pass of a micro-batch take on the rank that has the most.
    ///
    /// The code of the model runs with sizes only, so this needs no memory for it, and nothing has to be kept in step.
    public static func cost(
        _ configuration: ModelConfiguration, _ layout: MemoryPlan.Layout, _ sizes: MicroBatchSizes
    ) throws -> PassCost {
        if sizes.rows > mostPlannedRows, sizes.sequences > 1 {
            let one = try Self.cost(configuration, layout, sizes.share(sizes.sequences))
            return one.repeated(sizes.sequences)
        }
        func cost(images: Int) throws -> PassCost {
            // The last ranks may have one row more than the first.
            let rank = PlannedRank(rank: layout.tensor - 1, of: layout.tensor)
            let context = Context(
                pool: ThreadPool(threads: 1), type: layout.type, allocator: CachingAllocator(isSizesOnly: true),
                tensorParallel: rank, sequenceParallel: layout.sequenceParallel)
            let model = TransfusionModel(
                configuration, context, recomputation: layout.recomputation, rules: layout.rules
            ) {
                Tensor([$0], .f32, allocator: context.allocator)
            }
            return try PassCost(context, rank) {
                try model.pass(sizes.with(images: images, of: configuration), context)
            }
        }
        let few = Int(sizes.images.rounded(.down)), many = sizes.mostImages
        guard few < many else { return try cost(images: few) }
        // Between two numbers of images everything but the memory grows evenly.
        return try cost(images: few).averaged(with: cost(images: many), share: sizes.images - Double(few))
    }

    private func pass(_ sizes: MicroBatchSizes, _ context: Context) throws {
        let rows = RowLayout(
            sizes, patchesPerImage: configuration.patchesPerImage,
            isCausal: configuration.rowOptions.causalImages)
        try context.record {
            let images =
                rows.imageCount == 0
                ? nil
                : NoisedImages(
                    latents: [], noise: [], timesteps: rows.imageStarts.map { _ in 0 },
                    schedule: NoiseSchedule(timesteps: 1), configuration: configuration, context)
            _ = try losses(
                rows, images: images, weights: LossWeights(targets: 1, images: 1, imageLossWeight: 1), context)
        }
        try context.backward()
    }
}

extension RowLayout {
    /// Rows of which only the numbers count: images, then text, in sequences that are one document each.
    fileprivate init(_ sizes: MicroBatchSizes, patchesPerImage: Int, isCausal: Bool) {
        let images = Int(sizes.images), length = sizes.sequenceLength
        let imageStarts = (0..<images).map { $0 * patchesPerImage }
        let patches = images * patchesPerImage
        let sequenceStart = (0..<sizes.rows).map { $0 / length * length }
        let targets = min(Int(sizes.targets.rounded()), sizes.rows - patches)
        self.init(
            tokens: (0..<sizes.rows).map { $0 < patches ? -1 : 0 },
            targets: (0..<sizes.rows).map { $0 >= patches && $0 < patches + targets ? 0 : -1 },
            positions: (0..<sizes.rows).map { Int32($0 - sequenceStart[$0]) },
            visibleStart: sequenceStart.map { Int32($0) },
            visibleEnd: (0..<sizes.rows).map {
                Int32($0 < patches && !isCausal ? ($0 / patchesPerImage + 1) * patchesPerImage : $0 + 1)
            },
            imageStarts: imageStarts.map { Int32($0) }, patchesPerImage: patchesPerImage)
    }
}
