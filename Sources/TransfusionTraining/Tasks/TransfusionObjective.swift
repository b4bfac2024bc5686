internal import TransfusionCore
internal import TransfusionData
internal import TransfusionModels

/// The loss of the Transfusion model: text + λ · image, each a mean over the global batch, and the z-loss of the text where it is
/// wanted.
struct TransfusionObjective {
    let model: TransfusionModel
    /// λ.
    let imageLossWeight: Double
    /// Of the mean of (log Z)² over the rows with a target.
    let zLossWeight: Double
    private let schedule = NoiseSchedule()

    init(model: TransfusionModel, imageLossWeight: Double, zLossWeight: Double = 0) {
        self.model = model
        self.imageLossWeight = imageLossWeight
        self.zLossWeight = zLossWeight
    }

    private static let text = "text"
    private static let image = "image"
    /// Keeps training in bounds and says nothing of quality: validation has no such part.
    private static let z = "z"

    static func counts(targets: Int, images: Int, of model: ModelConfiguration) -> BatchCounts {
        guard model.images != .none else { return BatchCounts(denominators: [text: targets]) }
        return BatchCounts(denominators: [text: targets, image: images], images: images)
    }

    static func counts(_ found: BatchSource.Counts, of source: BatchSource) -> BatchCounts {
        var counts = counts(targets: found.targets, images: found.images, of: source.model)
        counts.tokens = found.tokens
        counts.patches = (found.images + found.originals) * source.model.patchesPerImage
        counts.rows = source.settings.globalSequences * source.settings.sequenceLength
        return counts
    }

    func losses(_ batch: PreparedBatch, _ counts: BatchCounts, _ context: Context) throws -> [NamedSum] {
        let images =
            batch.timesteps.isEmpty
            ? nil
            : NoisedImages(
                latents: batch.latents, noise: batch.noise, timesteps: batch.timesteps, isClean: batch.isClean,
                schedule: schedule, configuration: model.configuration, context)
        let weights = TransfusionModel.LossWeights(
            targets: counts.denominators[Self.text] ?? 0, images: counts.denominators[Self.image] ?? 0,
            imageLossWeight: imageLossWeight, zLossWeight: zLossWeight)
        let sums = try model.losses(batch.layout, images: images, weights: weights, context)
        var parts = [counts.part(Self.text, sums.text)]
        if model.configuration.images != .none {
            parts.append(counts.part(Self.image, sums.image, weight: imageLossWeight))
        }
        if zLossWeight > 0 {
            parts.append(
                NamedSum(
                    name: Self.z, sum: sums.squaredLogZ, count: counts.denominators[Self.text] ?? 0, weight: zLossWeight
                ))
        }
        return parts
    }
}
