internal import TransfusionConfig
internal import TransfusionCore
internal import TransfusionData
internal import TransfusionModels

/// The discriminator that an autoencoder trains against: its verdict on reconstructions is a part of the autoencoder's loss, and
/// it learns to tell them from pictures.
///
/// Its normalisations, and the weight of its verdict, depend on the whole global batch, so both players survey it first. The
/// discriminator sees the reconstructions that the autoencoder was trained on in the same step. Everything is a sum over
/// micro-batches in their order, the same on any number of ranks.
/// ### References
/// Esser, Rombach and Ommer 2021, "Taming transformers for high-resolution image synthesis", equations 6 and 7.
final class Adversary {
    let discriminator: PatchDiscriminator
    let player: Player
    let description: String
    let watch = CollapseWatch()
    private let settings: RunConfiguration.Discriminator
    private let weight: Double
    private let logitsPerPicture: Int

    // Of the step under way.
    private var step = 0
    private var reconstructions: [BatchAddress: Tensor] = [:]
    private var verdicts: [BatchAddress: Surveyed] = [:]
    private var surveys: (real: PatchDiscriminator.Survey, reconstructed: PatchDiscriminator.Survey)?

    /// Names of what is measured.
    enum Part: String, CaseIterable {
        /// The verdict's part of the autoencoder's loss, weighted.
        case adversarial
        /// By what `objective.adversarial_weight` was multiplied.
        case adaptiveWeight = "adaptive_weight"
        /// The discriminator's own loss, which is no part of the autoencoder's.
        case discriminator
        /// Its mean logits.
        case real = "discriminator_real"
        case reconstructed = "discriminator_reconstructed"
    }

    /// A micro-batch of which all is known that the autoencoder's loss needs.
    struct Surveyed {
        /// That of the whole loss at the reconstruction.
        let gradient: Tensor
        let parts: [NamedSum]
    }

    /// A micro-batch that went through the autoencoder.
    struct Reconstruction {
        let address: BatchAddress
        let pass: Autoencoder.Pass
        /// That of all losses but the discriminator's.
        let gradient: Tensor
        let parts: [NamedSum]
    }

    /// - Returns: nil when the configuration wants no discriminator.
    init?(
        _ configuration: RunConfiguration, _ image: DatasetManifest.ImageShape, _ resources: TrainingResources
    ) throws {
        guard let start = configuration.discriminator.start, let first = configuration.discriminator.firstStep else {
            return nil
        }
        settings = configuration.discriminator
        weight = configuration.objective.adversarialWeight
        let sizes = PatchDiscriminator.Configuration(settings, image)
        discriminator = try PatchDiscriminator(sizes, resources.context, gradients: resources.makeGradients)
        logitsPerPicture = sizes.logits(image.height) * sizes.logits(image.width)
        player = Player(discriminator: discriminator.parameters, configuration, from: first)
        description =
            "discriminator: \(discriminator.parameters.globalCount) parameters, trained from step \(first) and heard from "
            + "step \(start)"
    }

    /// Whether the verdict is a part of the autoencoder's loss.
    func counts(at step: Int) -> Bool { settings.start.map { step >= $0 } ?? false }

    func surveyed(_ address: BatchAddress) -> Surveyed? { verdicts[address] }

    /// Takes note of a reconstruction that the discriminator will see in this step.
    func keep(_ reconstruction: Tensor, at address: BatchAddress) {
        guard player.isTrained(address.step) else { return }
        begin(address.step)
        reconstructions[address] = reconstruction
    }

    private func begin(_ step: Int) {
        guard step != self.step else { return }
        self.step = step
        forget()
    }

    /// Gives back the memory of a step that is done.
    func forget() {
        reconstructions = [:]
        verdicts = [:]
        surveys = nil
    }

    /// Finds the gradient of the autoencoder's whole loss at each reconstruction of this rank, and how the verdict is weighted.
    func surveyReconstructions(
        _ found: [Reconstruction], of model: Autoencoder, _ counts: BatchCounts, group: any Collectives,
        _ context: Context
    ) throws {
        begin(found[0].address.step)
        let scale = -1 / Float(counts.images * logitsPerPicture)
        var sums: [Double] = []
        let survey = try discriminator.survey(
            found.map(\.pass.reconstruction), group: group, reachesPictures: true, context
        ) { logits in
            sums.append(context.hingeLoss(logits, isReal: true, scale: 0).logits)
            return context.constantGradient(scale, of: logits)
        }
        var factor = 1.0
        if settings.weighting == .adaptive {
            func norm(_ gradients: [Tensor]) throws -> Double {
                let own = zip(found, gradients).map {
                    model.lastLayerGradient($0.pass, $1, context).floats().map(Double.init)
                }
                return Self.norm(ofSum: try group.allGather(own, site: "adaptive weight"))
            }
            factor = Self.adaptiveWeight(
                others: try norm(found.map(\.gradient)), verdict: try norm(survey.pictureGradients))
        }
        let total = weight * ramp(step) * factor
        for (index, one) in found.enumerated() {
            let pictures = Double(one.address.sequences.count)
            let verdict = -total * sums[index] / Double(logitsPerPicture)
            var parts = one.parts + [counts.part(Part.adversarial.rawValue, verdict)]
            if settings.weighting == .adaptive {
                parts.append(counts.part(Part.adaptiveWeight.rawValue, factor * pictures, weight: 0))
            }
            reconstructions[one.address] = one.pass.reconstruction
            verdicts[one.address] = Surveyed(
                gradient: context.sum(one.gradient, survey.pictureGradients[index], times: Float(total)), parts: parts)
        }
    }

    /// How much of the weight has come by a step.
    private func ramp(_ step: Int) -> Double {
        guard let start = settings.start, settings.rampSteps > 0 else { return 1 }
        return min(1, Double(step - start + 1) / Double(settings.rampSteps))
    }

    /// The largest weight; one that reaches it tells of a discriminator whose gradient has vanished.
    static let largestAdaptiveWeight = 1e4

    /// - Parameters:
    ///   - others: The norm of the gradient of all other losses of the pictures, at the decoder's last layer.
    ///   - verdict: That of the discriminator's.
    /// ### References
    /// Esser, Rombach and Ommer 2021, equation 7; the constants are those of Latent Diffusion's `LPIPSWithDiscriminator`.
    static func adaptiveWeight(others: Double, verdict: Double) -> Double {
        let weight = others / (verdict + 1e-4)
        return weight.isNaN ? weight : min(weight, largestAdaptiveWeight)
    }

    private static func norm(ofSum parts: [[Double]]) -> Double {
        guard let length = parts.first?.count else { return 0 }
        return (0..<length).reduce(0.0) { squares, index in
            let sum = parts.reduce(0.0) { $0 + $1[index] }
            return squares + sum * sum
        }.squareRoot()
    }

    /// Surveys pictures and reconstructions before the discriminator learns from them.
    func survey(
        _ parts: [(pictures: Tensor, address: BatchAddress)], _ counts: BatchCounts, group: any Collectives,
        _ context: Context
    ) throws {
        let scale = lossScale(counts)
        func survey(_ parts: [Tensor], isReal: Bool) throws -> PatchDiscriminator.Survey {
            try discriminator.survey(parts, group: group, reachesPictures: false, context) {
                context.hingeLoss($0, isReal: isReal, scale: scale).gradient
            }
        }
        surveys = (
            try survey(parts.map(\.pictures), isReal: true),
            try survey(parts.map { reconstruction(at: $0.address) }, isReal: false)
        )
    }

    /// The discriminator's losses on a micro-batch that was surveyed.
    func losses(_ pictures: Tensor, _ address: BatchAddress, _ counts: BatchCounts, _ context: Context) -> [NamedSum] {
        guard let surveys else { preconditionFailure("the discriminator learns from a batch that was not surveyed") }
        func judge(
            _ pictures: Tensor, _ survey: PatchDiscriminator.Survey, isReal: Bool
        ) -> (loss: Double, logits: Double) {
            let logits = discriminator(pictures, survey, context)
            let hinge = context.hingeLoss(logits, isReal: isReal, scale: lossScale(counts))
            context.recordLoss(gradient: hinge.gradient, of: logits)
            return (hinge.loss / Double(logitsPerPicture), hinge.logits / Double(logitsPerPicture))
        }
        let real = judge(pictures, surveys.real, isReal: true)
        let reconstructed = context.usingAgain {
            judge(reconstruction(at: address), surveys.reconstructed, isReal: false)
        }
        return [
            counts.part(Part.discriminator.rawValue, 0.5 * (real.loss + reconstructed.loss), weight: 0),
            counts.part(Part.real.rawValue, real.logits, weight: 0),
            counts.part(Part.reconstructed.rawValue, reconstructed.logits, weight: 0),
        ]
    }

    private func lossScale(_ counts: BatchCounts) -> Float { 0.5 / Float(counts.images * logitsPerPicture) }

    private func reconstruction(at address: BatchAddress) -> Tensor {
        guard let tensor = reconstructions[address] else {
            preconditionFailure("the discriminator sees a batch that the autoencoder has not seen")
        }
        return tensor
    }
}

extension PatchDiscriminator.Configuration {
    init(_ settings: RunConfiguration.Discriminator, _ image: DatasetManifest.ImageShape) {
        self.init(channels: image.channels, width: settings.width, layers: settings.layers)
    }
}

extension Player {
    /// The discriminator of an autoencoder, with an optimizer of its own.
    fileprivate init(discriminator parameters: ParameterStore, _ configuration: RunConfiguration, from first: Int) {
        let settings = configuration.discriminator, run = configuration.schedule
        let peak = settings.learningRate ?? run.learningRate
        self.init(
            name: "discriminator", parameters: parameters,
            optimizer: AdamW.Settings(
                beta1: Float(settings.beta1), beta2: Float(settings.beta2),
                epsilon: Float(configuration.optimizer.epsilon), weightDecay: Float(settings.weightDecay)),
            schedule: LearningRateSchedule(
                peak: peak, minimum: run.minimumLearningRate * peak / run.learningRate, warmupSteps: run.warmupSteps,
                steps: run.steps),
            clipNorm: settings.clipNorm ?? 0, isTrained: { $0 >= first })
    }
}
