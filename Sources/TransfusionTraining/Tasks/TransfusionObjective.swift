package import TransfusionCore
internal import TransfusionData
package import TransfusionModels

/// The loss of the Transfusion model: text + λ · image, each a mean over the global batch, and the z-loss of the text where it is
/// wanted.
package struct TransfusionObjective {
    package let model: TransfusionModel
    /// λ.
    let imageLossWeight: Double
    /// Of the mean of (log Z)² over the rows with a target.
    let zLossWeight: Double
    private let schedule = NoiseSchedule()

    package init(model: TransfusionModel, imageLossWeight: Double, zLossWeight: Double = 0) {
        self.model = model
        self.imageLossWeight = imageLossWeight
        self.zLossWeight = zLossWeight
    }

    private typealias PartName = TransfusionModel.PartName

    package static func counts(
        targets: Int, images: Int, originals: Int = 0, of model: ModelConfiguration
    ) -> BatchCounts {
        var counts = BatchCounts(images: images)
        switch model.images {
        case .none: counts.denominators = [PartName.text: targets]
        case .diffusion: counts.denominators = [PartName.text: targets, PartName.image: images]
        case .tokens:
            let ofImages = (images + originals) * model.patchesPerImage
            counts.denominators = [
                PartName.tokens: targets, PartName.text: targets - ofImages, PartName.imageTokens: ofImages,
            ]
        }
        return counts
    }

    static func counts(_ found: BatchSource.Counts, of source: BatchSource) -> BatchCounts {
        var counts = counts(
            targets: found.targets, images: found.images, originals: found.originals, of: source.model)
        counts.tokens = found.tokens
        counts.patches = (found.images + found.originals) * source.model.patchesPerImage
        counts.rows = source.settings.globalSequences * source.settings.sequenceLength
        return counts
    }

    package func losses(_ batch: PreparedBatch, _ counts: BatchCounts, _ context: Context) throws -> [NamedSum] {
        let images =
            batch.timesteps.isEmpty
            ? nil
            : NoisedImages(
                latents: batch.latents, noise: batch.noise, timesteps: batch.timesteps, isClean: batch.isClean,
                schedule: schedule, configuration: model.configuration, context)
        let weights = TransfusionModel.LossWeights(
            targets: counts.denominators[PartName.tokens] ?? counts.denominators[PartName.text] ?? 0,
            imageTargets: counts.denominators[PartName.imageTokens], images: counts.denominators[PartName.image],
            imageLossWeight: imageLossWeight, zLossWeight: zLossWeight)
        return weights.parts(of: try model.losses(batch.layout, images: images, weights: weights, context))
    }
}
