internal import TransfusionCore
internal import TransfusionModels
internal import TransfusionParallel
internal import TransfusionTraining

/// The Transfusion model on made-up data, for measurements: each micro-batch is the same row of random tokens with images
/// in between.
struct RandomRowsTask: TrainingTask {
    let players: [Player]
    let objective: TransfusionObjective
    private let batch: PreparedBatch
    /// Of the global batch.
    private let sequences: Int

    /// - Throws: `RowLayoutError` when the images do not fit into the sequence.
    init(_ settings: StepBenchmark.Settings, _ resources: TrainingResources) throws {
        let configuration = settings.model
        let layout = try Self.layout(settings, configuration)
        let model = try TransfusionModel(
            configuration, resources.context, recomputation: settings.recomputation, gradients: resources.makeGradients)
        objective = TransfusionObjective(model: model, imageLossWeight: 5)
        // The rate does not matter to how long a step takes.
        let schedule = LearningRateSchedule(peak: 1e-4, minimum: 1e-4, warmupSteps: 0, steps: 1)
        players = [
            Player(
                name: "model", parameters: model.parameters, optimizer: AdamW.Settings(), schedule: schedule,
                clipNorm: 1)
        ]
        sequences = settings.microBatches * resources.mesh.shape.data
        let count = settings.images * Patches(configuration).imageCount
        batch = PreparedBatch(
            layout: layout, latents: Self.normal(count, .packing), noise: Self.normal(count, .noise),
            timesteps: (0..<settings.images).map { Int32(($0 * 377 + 100) % 1000) })
        model.parameters.initialize(seed: 0)
    }

    var model: TransfusionModel { objective.model }
    var makeBatch: @Sendable (BatchAddress) throws -> PreparedBatch { { [batch] _ in batch } }

    func counts(step: Int) -> BatchCounts {
        var counts = TransfusionObjective.counts(
            targets: batch.layout.targetCount * sequences, images: batch.layout.imageCount * sequences,
            of: model.configuration)
        counts.tokens = batch.layout.tokens.count * sequences
        return counts
    }

    func losses(_ batch: PreparedBatch, _ counts: BatchCounts, player: Int, _ context: Context) throws -> [NamedSum] {
        try objective.losses(batch, counts, context)
    }

    private static func normal(_ count: Int, _ purpose: Philox.Purpose) -> [Float] {
        [Float](unsafeUninitializedCapacity: count) { buffer, initialized in
            Philox(seed: 0, purpose: purpose).fillNormal(UnsafeMutableBufferPointer(rebasing: buffer[..<count]))
            initialized = count
        }
    }

    /// Text with images evenly between it, all one document.
    private static func layout(_ settings: StepBenchmark.Settings, _ model: ModelConfiguration) throws -> RowLayout {
        let random = Philox(seed: 0, purpose: .packing, index: 1)
        var tokens = (0..<settings.sequenceLength).map {
            Int32(3 + random.integer(below: settings.vocabulary - 5, at: $0))
        }
        let text = settings.sequenceLength - settings.images * settings.patchesPerImage
        let gap = max(0, text) / (settings.images + 1)
        let starts = (0..<settings.images).map { Int32(gap + $0 * (gap + settings.patchesPerImage)) }
        for start in starts where Int(start) + settings.patchesPerImage <= tokens.count {
            for row in Int(start)..<Int(start) + settings.patchesPerImage { tokens[row] = -1 }
        }
        return try RowLayout(
            tokens: tokens, documentStarts: [0], imageStarts: starts, patchesPerImage: settings.patchesPerImage,
            beginOfImage: model.beginOfImage, endOfImage: model.endOfImage)
    }
}
