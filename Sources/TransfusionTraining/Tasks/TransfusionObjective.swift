internal import TransfusionCore
internal import TransfusionData
internal import TransfusionModels

/// The loss of the Transfusion model: text + λ · image, each a mean over the global batch.
struct TransfusionObjective {
    let model: TransfusionModel
    /// λ.
    let imageLossWeight: Double
    private let schedule = NoiseSchedule()

    init(model: TransfusionModel, imageLossWeight: Double) {
        self.model = model
        self.imageLossWeight = imageLossWeight
    }

    private static let text = "text"
    private static let image = "image"

    static func counts(targets: Int, images: Int, of model: ModelConfiguration) -> BatchCounts {
        guard model.images != .none else { return BatchCounts(denominators: [text: targets]) }
        return BatchCounts(denominators: [text: targets, image: images], images: images)
    }

    static func counts(_ found: BatchSource.Counts, of source: BatchSource) -> BatchCounts {
        var counts = counts(targets: found.targets, images: found.images, of: source.model)
        counts.tokens = found.tokens
        counts.patches = found.images * source.model.patchesPerImage
        counts.rows = source.settings.globalSequences * source.settings.sequenceLength
        return counts
    }

    func losses(_ batch: PreparedBatch, _ counts: BatchCounts, _ context: Context) throws -> [NamedSum] {
        let images =
            batch.timesteps.isEmpty
            ? nil
            : NoisedImages(
                latents: batch.latents, noise: batch.noise, timesteps: batch.timesteps, schedule: schedule,
                configuration: model.configuration, context)
        let weights = TransfusionModel.LossWeights(
            targets: counts.denominators[Self.text] ?? 0, images: counts.denominators[Self.image] ?? 0,
            imageLossWeight: imageLossWeight)
        let sums = try model.losses(batch.layout, images: images, weights: weights, context)
        let text = counts.part(Self.text, sums.text)
        guard model.configuration.images != .none else { return [text] }
        return [text, counts.part(Self.image, sums.image, weight: imageLossWeight)]
    }
}
