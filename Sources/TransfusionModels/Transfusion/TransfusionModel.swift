public import TransfusionCore

/// One transformer that predicts the next text token and, with the same weights, the noise in image patches.
///
/// ### References
/// Zhou et al. 2024, "Transfusion" (arXiv 2408.11039); the transformer is Llama's, with the options of its family.
public final class TransfusionModel {
    /// Which activations of a block are computed again in the backward pass instead of kept.
    public enum Recomputation: String, Sendable, CaseIterable {
        case none
        /// Attention and SwiGLU, but no product with weights.
        case selective
        /// Every block.
        case full
    }

    public let configuration: ModelConfiguration
    public let parameters: ParameterStore
    public let recomputation: Recomputation

    private let layers: Layers

    private struct Layers {
        let embedding: Parameter
        /// Nil in a model without images, like `patchDecoder`.
        let patchEncoder: (any PatchEncoding)?
        let blocks: [TransformerBlock]
        let norm: RMSNorm
        /// The embedding itself in a model with tied embeddings.
        let head: Parameter
        let patchDecoder: (any PatchDecoding)?
        /// Of each block, whether any parameter of it is trained.
        let trainsBlock: [Bool]
        let trainsPatchEncoder: Bool

        init(_ configuration: ModelConfiguration, in builder: ParameterBuilder) {
            let tableShape = [configuration.vocabulary, configuration.width]
            let deviation = Parameter.Initialization.normal(standardDeviation: configuration.initialDeviation)
            let rotary = RotaryTable(
                headWidth: configuration.headWidth, base: configuration.ropeBase, scaling: configuration.ropeScaling)
            // Unit rows, like those of the patches beside them; but as a head they would give logits that are too large.
            embedding = builder.parameter(
                "model.embed_tokens.weight", tableShape, splitAlong: 0,
                configuration.hasTiedEmbeddings ? deviation : .normal(standardDeviation: 1))
            /// A layer, and whether any parameter of it is trained.
            func make<Layer>(_ layer: () -> Layer) -> (Layer, isTrained: Bool) {
                let first = builder.groups.count
                return (layer(), builder.groups[first...].joined().contains { !$0.isFrozen })
            }
            (patchEncoder, trainsPatchEncoder) = make { configuration.patchEncoder(in: builder) }
            let made = (0..<configuration.layers).map { layer in
                make { TransformerBlock(layer, configuration, rotary: rotary, in: builder) }
            }
            blocks = made.map(\.0)
            trainsBlock = made.map(\.isTrained)
            norm = RMSNorm("model.norm", width: configuration.width, epsilon: configuration.rmsNormEpsilon, in: builder)
            head =
                configuration.hasTiedEmbeddings
                ? embedding : builder.parameter("lm_head.weight", tableShape, splitAlong: 0, deviation)
            patchDecoder = configuration.patchDecoder(in: builder)
        }
    }

    /// The parameters of a rank, those of the whole model by default, without memory for their values.
    public static func parameters(
        _ configuration: ModelConfiguration, tensorRank: Int = 0, tensorSize: Int = 1
    ) -> [Parameter] {
        let builder = ParameterBuilder(tensorRank: tensorRank, tensorSize: tensorSize)
        _ = Layers(configuration, in: builder)
        return builder.groups.flatMap { $0 }
    }

    /// How many parameters the whole model has, without making it.
    public static func parameterCount(_ configuration: ModelConfiguration) -> Int {
        parameters(configuration).reduce(0) { $0 + $1.globalCount }
    }

    /// How many elements a rank's matrices and vectors take, gaps for alignment included, without making the model.
    public static func elementCounts(
        _ configuration: ModelConfiguration, tensorRank: Int = 0, tensorSize: Int = 1,
        rules: ParameterRules = ParameterRules()
    ) -> ParameterStore.ElementCounts {
        let builder = ParameterBuilder(tensorRank: tensorRank, tensorSize: tensorSize, rules: rules)
        _ = Layers(configuration, in: builder)
        return ParameterStore.place(builder)
    }

    /// Why the model cannot be trained by the rules, as `ParameterRules.problems` says it.
    public static func problems(
        of rules: ParameterRules, _ configuration: ModelConfiguration
    ) -> [(part: ParameterRules.Part, message: String)] {
        let builder = ParameterBuilder(rules: rules)
        _ = Layers(configuration, in: builder)
        return rules.problems(of: builder.groups)
    }

    /// A model without values: initialise or load `parameters` before use.
    ///
    /// - Parameters:
    ///   - rules: Which parameters are trained; `problems(of:_:)` has found nothing.
    ///   - gradients: Makes the buffer for the gradients, given its length; nil for a model that is not trained.
    public init(
        _ configuration: ModelConfiguration, _ context: Context, recomputation: Recomputation = .none,
        rules: ParameterRules = ParameterRules(), gradients: ((Int) throws -> Tensor)? = nil
    ) rethrows {
        self.configuration = configuration
        self.recomputation = recomputation
        let builder = ParameterBuilder(
            tensorRank: context.tensorParallel.rank, tensorSize: context.tensorParallel.size, rules: rules)
        layers = Layers(configuration, in: builder)
        parameters = try ParameterStore(
            builder, type: context.type, allocator: context.allocator, gradients: gradients)
    }

    /// Puts the weights of the blocks in the order in which products read them, which these then need not do themselves.
    ///
    /// For a model that shall only compute: its parameters can no longer be read, trained or written.
    public func pack(_ context: Context) {
        precondition(parameters.gradients == nil, "a model that is trained cannot be packed")
        for block in layers.blocks {
            for layer in block.linearLayers { layer.pack(context) }
        }
    }

    /// What the transformer makes of rows.
    public struct HiddenStates {
        /// The result for every row, after the last norm: `[rows, width]` in the context's type.
        public let rows: Tensor
        /// Nil without images.
        let images: EncodedImages?
    }

    /// Rounds the weights of the blocks and of the head to signed bytes with a factor for each output, which a few rows read
    /// faster, and gives back the memory of what they were.
    ///
    /// For a model that shall only compute: what was rounded can no longer be read, trained or written.
    public func quantize(_ context: Context) {
        let rounded = layers.blocks.flatMap(\.linearLayers)
        for layer in rounded { layer.quantize(context) }
        context.quantize([layers.head])
        // As the table of embeddings, a tied head keeps its values.
        let dispensable = rounded.flatMap(\.weights) + (configuration.hasTiedEmbeddings ? [] : [layers.head])
        parameters.release(
            keeping: parameters.parameters.filter { kept in !dispensable.contains { $0 === kept } },
            allocator: context.allocator)
    }

    /// The transformer's result for every row.
    ///
    /// - Parameters:
    ///   - tokens: The token of each row, -1 at patches. The branches of guidance begin with the same rows: here they may
    ///     stand once, if `rows` has them as often as there are branches.
    ///   - images: The images at the rows of `imageStarts`, in that order; nil without images.
    public func hiddenStates(
        tokens: [Int32], images: NoisedImages?, imageStarts: [Int32], rows: AttentionRows, _ context: Context
    ) throws -> HiddenStates {
        // Below the first parameter that is trained no gradient is needed, and no activation is kept.
        var needsGradient = !layers.embedding.isFrozen || images != nil && layers.trainsPatchEncoder
        func run(_ forward: () throws -> Tensor) rethrows -> Tensor {
            needsGradient ? try forward() : try context.withoutRecording(forward)
        }
        var encoded: EncodedImages?
        var x = try run {
            encoded = try images.map { try patchLayers.encoder($0, recomputes: recomputation == .full, context) }
            return context.shareRows(
                try context.embed(
                    tokens, embedding: layers.embedding, patches: encoded?.patches, imageStarts: imageStarts))
        }
        context.recomputesCheapTensors = recomputation == .selective
        for (block, isTrained) in zip(layers.blocks, layers.trainsBlock) {
            needsGradient = needsGradient || isTrained
            x = try run {
                switch recomputation {
                case .none, .selective: try block(x, rows, context)
                case .full: try context.checkpointed(x) { try block($0, rows, context) }
                }
            }
        }
        return HiddenStates(rows: try context.collectRows(layers.norm(x, context)), images: encoded)
    }

    /// The logits of the given rows: `[rows, vocabulary]`, f32.
    public func logits(_ hidden: HiddenStates, rows: [Int32], _ context: Context) throws -> Tensor {
        try context.wholeLogits(
            context.linear(context.gather(hidden.rows, rows: rows), [layers.head], result: .f32), layers.head)
    }

    /// The noise that the model finds in the images at `imageStarts`: `[images, channels, height, width]`.
    public func predictedNoise(_ hidden: HiddenStates, imageStarts: [Int32], _ context: Context) throws -> [Float] {
        let prediction = try prediction(hidden, imageStarts, context)
        let order = Patches(configuration)
        return [Float](unsafeUninitializedCapacity: prediction.count) { buffer, count in
            order.join(prediction.f32.baseAddress!, into: buffer.baseAddress!, count: imageStarts.count)
            count = prediction.count
        }
    }

    /// What a batch cost: sums, so that they can be added over micro-batches and ranks.
    public struct Losses: Sendable, Equatable {
        /// Σ −log p over the rows with a target.
        public var text = 0.0
        /// The part of `text` whose targets are codes of images.
        public var imageTokens = 0.0
        /// Σ over images of the mean squared error of the predicted noise.
        public var image = 0.0
        /// Σ (log Z)² over the rows with a target, where Z is what the softmax divides by.
        public var squaredLogZ = 0.0

        public init(text: Double = 0, image: Double = 0) {
            self.text = text
            self.image = image
        }
    }

    /// The factors that make a total loss of the sums:
    /// `text · (Losses.text + zLoss · Losses.squaredLogZ) + image · Losses.image`.
    public struct LossWeights: Sendable, Equatable {
        public let text: Double
        public let image: Double
        public let zLoss: Double
        private let targets: Int
        private let imageTargets: Int?
        private let images: Int?
        private let imageLossWeight: Double

        /// Normalises by the counts of the whole global batch (decisions D3 and D4).
        /// - Parameters:
        ///   - imageTargets: How many of the targets are codes of images; nil for a model that has none.
        ///   - images: Nil for a loss without an image part.
        public init(
            targets: Int, imageTargets: Int? = nil, images: Int?, imageLossWeight: Double, zLossWeight: Double = 0
        ) {
            self.targets = targets
            self.imageTargets = imageTargets
            self.images = images
            self.imageLossWeight = imageLossWeight
            zLoss = zLossWeight
            text = targets > 0 ? 1 / Double(targets) : 0
            image = images.map { $0 > 0 ? imageLossWeight / Double($0) : 0 } ?? 0
        }

        /// The parts that the total is made of.
        public func parts(of losses: Losses) -> [NamedSum] {
            var parts: [NamedSum]
            if let imageTargets {
                // Trained as one, and told apart to be compared with what other models make of text.
                parts = [
                    NamedSum(name: PartName.tokens, sum: losses.text, count: targets, weight: 1),
                    NamedSum(
                        name: PartName.text, sum: losses.text - losses.imageTokens, count: targets - imageTargets,
                        weight: 0),
                    NamedSum(name: PartName.imageTokens, sum: losses.imageTokens, count: imageTargets, weight: 0),
                ]
            } else {
                parts = [NamedSum(name: PartName.text, sum: losses.text, count: targets, weight: 1)]
            }
            if let images {
                parts.append(
                    NamedSum(name: PartName.image, sum: losses.image, count: images, weight: imageLossWeight))
            }
            if zLoss > 0 {
                parts.append(NamedSum(name: PartName.z, sum: losses.squaredLogZ, count: targets, weight: zLoss))
            }
            return parts
        }
    }

    /// What the parts of the loss are called.
    public enum PartName {
        public static let text = "text"
        /// Of text and of images that are tokens.
        public static let tokens = "tokens"
        public static let imageTokens = "image_tokens"
        public static let image = "image"
        /// Keeps training in bounds and says nothing of quality.
        public static let z = "z"
    }

    /// The transformer's result for every row of a packed batch.
    public func hiddenStates(
        _ layout: RowLayout, images: NoisedImages?, _ context: Context
    ) throws -> HiddenStates {
        try hiddenStates(
            tokens: layout.tokens, images: images, imageStarts: layout.imageStarts,
            rows: AttentionRows(layout, context), context)
    }

    /// The losses of a packed batch. While the context records, the backward pass of the weighted total can follow.
    public func losses(
        _ layout: RowLayout, images: NoisedImages?, weights: LossWeights, _ context: Context
    ) throws -> Losses {
        try losses(
            of: hiddenStates(layout, images: images, context), layout, images: images, weights: weights, context)
    }

    /// The losses of a packed batch whose hidden states are known.
    public func losses(
        of hidden: HiddenStates, _ layout: RowLayout, images: NoisedImages?, weights: LossWeights, _ context: Context
    ) throws -> Losses {
        var losses = Losses()
        if let images, let noise = images.noise {
            let elements = configuration.patchesPerImage * configuration.patchWidth
            let prediction = try prediction(hidden, layout.imageStarts, context)
            let sums = context.squaredError(
                prediction, target: noise, images: layout.imageCount, scale: Float(weights.image / Double(elements)),
                isExcluded: images.isClean)
            losses.image = sums.reduce(0) { $0 + $1 / Double(elements) }
        }
        let due = layout.targets.indices.filter { layout.targets[$0] >= 0 }
        (losses.text, losses.imageTokens, losses.squaredLogZ) = try context.linearCrossEntropy(
            context.gather(hidden.rows, rows: due.map { Int32($0) }), weight: layers.head,
            targets: due.map { layout.targets[$0] }, scale: Float(weights.text), zWeight: Float(weights.zLoss),
            apart: Int32(configuration.textVocabulary)..<Int32(configuration.vocabulary),
            completesWeight: !configuration.hasTiedEmbeddings)
        return losses
    }

    private var patchLayers: (encoder: any PatchEncoding, decoder: any PatchDecoding) {
        guard let encoder = layers.patchEncoder, let decoder = layers.patchDecoder else {
            preconditionFailure("a model without images was given some")
        }
        return (encoder, decoder)
    }

    /// The noise in the images at `imageStarts`, in the order of `Patches`.
    private func prediction(_ hidden: HiddenStates, _ imageStarts: [Int32], _ context: Context) throws -> Tensor {
        guard let images = hidden.images else { preconditionFailure("noise is sought in rows without images") }
        let rows = context.gather(
            hidden.rows, rows: imageStarts.flatMap { $0..<$0 + Int32(configuration.patchesPerImage) })
        return try patchLayers.decoder(rows, of: images, recomputes: recomputation == .full, context)
    }
}
