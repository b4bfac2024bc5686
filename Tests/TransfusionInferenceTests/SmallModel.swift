import TransfusionCore
import TransfusionModels

@testable import TransfusionInference

/// A randomly initialised model that is quick to sample from.
struct SmallModel {
    let configuration: ModelConfiguration
    let model: TransfusionModel
    let context: Context
    let generator: Generator

    init(
        sharedImagePosition: Bool = false, causalImages: Bool = false,
        patchCoder: ModelConfiguration.PatchCoder = .linear, codes: Int? = nil, memoryLimit: Int = 1 << 30,
        contextLength: Int = 200
    ) {
        var configuration = ModelConfiguration(
            layers: 2, width: 32, heads: 2, feedForward: 48, vocabulary: 40, patchSize: 2, imageChannels: 3,
            imageHeight: 6, imageWidth: 4, beginOfText: 1, endOfText: 2, beginOfImage: 38, endOfImage: 39)
        configuration.rowOptions.sharedImagePosition = sharedImagePosition
        configuration.rowOptions.causalImages = causalImages
        configuration.patchCoder = patchCoder
        if let codes { configuration = configuration.withImageTokens(codes: codes) }
        self.configuration = configuration
        context = Context(pool: ThreadPool(threads: 2), type: .f32)
        model = TransfusionModel(configuration, context)
        model.parameters.initialize(seed: 7)
        // Initial weights are small; without this all logits would be nearly equal.
        for parameter in model.parameters.parameters where parameter.isMatrix {
            for i in parameter.value.f32.indices { parameter.value.f32[i] *= 2 }
        }
        generator = Generator(model, context, contextLength: contextLength, memoryLimit: memoryLimit)
    }

    /// The numbers of one image that looks like nothing.
    func image(_ seed: UInt64) -> [Float] {
        var values = [Float](repeating: 0, count: configuration.patchesPerImage * configuration.patchWidth)
        values.withUnsafeMutableBufferPointer { Philox(seed: seed, purpose: .noise).fillNormal($0) }
        return values
    }
}

/// The slow way: the whole sequence through the model each time, without a cache.
struct Recomputation {
    let small: SmallModel
    private(set) var tokens: [Int32] = []
    private(set) var imageStarts: [Int32] = []
    private(set) var images: [Float] = []
    private(set) var timesteps: [Int32] = []

    init(_ small: SmallModel) {
        self.small = small
    }

    mutating func append(_ more: [Int32]) { tokens += more }

    mutating func append(image: [Float], timestep: Int) {
        imageStarts.append(Int32(tokens.count))
        tokens += [Int32](repeating: -1, count: small.configuration.patchesPerImage)
        images += image
        timesteps.append(Int32(timestep))
    }

    /// What the model makes of all rows.
    func hidden() throws -> TransfusionModel.HiddenStates {
        let layout = try RowLayout(
            tokens: tokens, documentStarts: [0], imageStarts: imageStarts,
            patchesPerImage: small.configuration.patchesPerImage, beginOfImage: small.configuration.beginOfImage,
            endOfImage: small.configuration.endOfImage, options: small.configuration.rowOptions)
        let noised =
            timesteps.isEmpty
            ? nil
            : NoisedImages(
                noised: images, timesteps: timesteps, configuration: small.configuration, small.context)
        return try small.model.hiddenStates(
            tokens: tokens, images: noised, imageStarts: imageStarts, rows: AttentionRows(layout, small.context),
            small.context)
    }

    func lastLogits() throws -> [Float] {
        try small.model.logits(try hidden(), rows: [Int32(tokens.count - 1)], small.context).floats()
    }

    /// What noise the model finds in an image that would come next.
    func predictedNoise(in image: [Float], timestep: Int) throws -> [Float] {
        var longer = self
        longer.append(image: image, timestep: timestep)
        let start = longer.imageStarts.suffix(1)
        return try small.model.predictedNoise(try longer.hidden(), imageStarts: Array(start), small.context)
    }

    /// Draws an image that would come next; `without` is the sequence of the unconditional branch.
    func draw(_ settings: ImageSettings, without: Recomputation, seed: UInt64, index: Int = 0) throws -> [Float] {
        let scale = settings.guidanceScale
        return try Self.draw([(self, scale), (without, 1 - scale)], settings, seed: seed, index: index)
    }

    /// Draws an image that would come next, by the weighted sum of what each branch finds.
    static func draw(
        _ branches: [(sequence: Recomputation, weight: Double)], _ settings: ImageSettings, seed: UInt64, index: Int = 0
    ) throws -> [Float] {
        let configuration = branches[0].sequence.small.configuration
        var image = [Float](repeating: 0, count: configuration.patchesPerImage * configuration.patchWidth)
        func fill(_ values: UnsafeMutableBufferPointer<Float>, _ drawing: Int) {
            Philox(seed: seed, purpose: .sampling, step: drawing, index: index).fillNormal(values)
        }
        image.withUnsafeMutableBufferPointer { fill($0, 0) }
        let sampler = Sampler(
            method: settings.method, steps: settings.steps, spacing: settings.spacing, clipsImage: settings.clipsImage)
        for (step, timestep) in sampler.timesteps.enumerated() {
            var noise = [Float](repeating: 0, count: image.count)
            for (sequence, weight) in branches {
                for (i, value) in try sequence.predictedNoise(in: image, timestep: timestep).enumerated() {
                    noise[i] += Float(weight) * value
                }
            }
            sampler.advance(&image, predictedNoise: noise, step: step) { fill($0, step + 1) }
        }
        return image
    }
}
