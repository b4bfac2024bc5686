public import TransfusionCore

/// Tells pictures from reconstructions, patch by patch: the second player in the training of an autoencoder.
///
/// Pictures `[images, height, width, channels]` become logits `[images, h, w, 1]`, high for what it takes for a picture. Its
/// normalisations use the statistics of the whole global batch, of pictures and of reconstructions apart: so a survey of the
/// batch comes before its losses.
///
/// ### References
/// Isola et al. 2017, "Image-to-image translation with conditional adversarial networks"; sizes and names are those of
/// taming-transformers' `NLayerDiscriminator` with batch normalisation.
public final class PatchDiscriminator {
    /// Of a discriminator.
    public struct Configuration: Sendable, Equatable {
        public var channels = 3
        /// Channels of the first layer.
        public var width = 64
        /// Layers of which each but the last halves height and width, as the first one does before them.
        public var layers = 3

        public init() {}

        public init(channels: Int, width: Int, layers: Int) {
            self.channels = channels
            self.width = width
            self.layers = layers
        }

        /// The side of the smallest pictures that it can judge.
        public var smallestSide: Int { 3 << layers }

        /// Height or width of the logits of pictures of so many pixels.
        public func logits(_ pixels: Int) -> Int { (pixels >> layers) - 2 }
    }

    /// A normalisation and the layer behind it.
    private struct Stage {
        let norm: BatchNorm
        let convolution: Convolution
    }

    private struct Layers {
        let first: Convolution
        let second: Convolution
        let stages: [Stage]

        init(_ configuration: Configuration, in builder: ParameterBuilder) {
            func convolution(_ index: Int, _ inputs: Int, _ outputs: Int, stride: Int, hasBias: Bool) -> Convolution {
                Convolution(
                    "\(PatchDiscriminator.prefix)main.\(index)", inputs: inputs, outputs: outputs, kernel: 4,
                    stride: stride, padding: ConvolutionPadding(1), hasBias: hasBias, standardDeviation: 0.02,
                    in: builder)
            }
            let layers = configuration.layers
            func width(_ layer: Int) -> Int { configuration.width * min(1 << layer, 8) }
            first = convolution(0, configuration.channels, width(0), stride: 2, hasBias: true)
            second = convolution(2, width(0), width(1), stride: layers == 1 ? 1 : 2, hasBias: false)
            stages = (1...layers).map { layer in
                let norm = BatchNorm(
                    "\(PatchDiscriminator.prefix)main.\(3 * layer)", channels: width(layer), in: builder)
                // The last one makes the logits.
                let isLast = layer == layers
                return Stage(
                    norm: norm,
                    convolution: convolution(
                        3 * layer + 2, width(layer), isLast ? 1 : width(layer + 1),
                        stride: layer + 1 < layers ? 2 : 1, hasBias: isLast))
            }
        }
    }

    /// What its parameters' names begin with.
    public static let prefix = "discriminator."
    /// Of what is below zero, so much passes its activations.
    private static let slope: Float = 0.2

    public let parameters: ParameterStore
    private let layers: Layers

    /// A discriminator without values: initialise `parameters` before use.
    public init(
        _ configuration: Configuration, _ context: Context, gradients: ((Int) throws -> Tensor)? = nil
    ) rethrows {
        let builder = ParameterBuilder()
        layers = Layers(configuration, in: builder)
        parameters = try ParameterStore(
            builder, type: context.type, allocator: context.allocator, gradients: gradients)
    }

    /// The name and shape of every parameter.
    public static func parameterShapes(_ configuration: Configuration) -> [String: [Int]] {
        let builder = ParameterBuilder()
        _ = Layers(configuration, in: builder)
        return Dictionary(uniqueKeysWithValues: builder.groups.joined().map { ($0.name, $0.globalShape) })
    }

    /// How many elements matrices and vectors take, gaps for alignment included.
    static func elementCounts(_ configuration: Configuration) -> ParameterStore.ElementCounts {
        let builder = ParameterBuilder()
        _ = Layers(configuration, in: builder)
        return ParameterStore.place(builder)
    }

    /// What a survey has found of a whole global batch.
    public struct Survey {
        fileprivate let statistics: [BatchStatistics]
        /// Of each of this rank's parts the gradient of its pictures; empty when it was not asked for.
        public let pictureGradients: [Tensor]
    }

    /// Passes a whole global batch through all layers and back, so that the statistics of its normalisations are known. All
    /// ranks call it.
    ///
    /// - Parameters:
    ///   - parts: This rank's micro-batches in order.
    ///   - group: The ranks that have the others.
    ///   - reachesPictures: Whether the gradients of the pictures are wanted.
    ///   - gradient: That of a part's logits. Gradients of parameters are added to as in any backward pass.
    public func survey(
        _ parts: [Tensor], group: any Collectives, reachesPictures: Bool, _ context: Context,
        gradient: (_ logits: Tensor) -> Tensor
    ) throws -> Survey {
        var inputs = [parts.map { opening($0, context) }]
        var statistics: [BatchStatistics] = []
        for (index, stage) in layers.stages.enumerated() {
            let found = try context.batchStatistics(inputs[index], epsilon: BatchNorm.epsilon, group: group)
            statistics.append(found)
            inputs.append(inputs[index].map { closing(stage, stage.norm($0, found, context), context) })
        }
        var dys = inputs.removeLast().map(gradient)
        for (stage, found) in zip(layers.stages, statistics).reversed() {
            let xs = inputs.removeLast()
            let normed = try zip(xs, dys).map { x, dy in
                try pullBack(dy, stage.norm(x, found, context), context) { closing(stage, $0, context) }
            }
            let (weight, bias) = (stage.norm.weight, stage.norm.bias)
            try context.findSlopes(normed, xs, weight: weight, bias: bias, found, group: group)
            dys = zip(normed, xs).map {
                context.batchNormGradient($0, $1, weight: weight, bias: bias, found)
            }
        }
        guard reachesPictures else { return Survey(statistics: statistics, pictureGradients: []) }
        return Survey(
            statistics: statistics,
            pictureGradients: try zip(parts, dys).map { part, dy in
                try pullBack(dy, part.reshaped(part.shape), context) { opening($0, context) }
            })
    }

    /// The logits of a part of a batch that was surveyed.
    public func callAsFunction(_ pictures: Tensor, _ survey: Survey, _ context: Context) -> Tensor {
        var x = opening(pictures, context)
        for (stage, found) in zip(layers.stages, survey.statistics) {
            x = closing(stage, stage.norm(x, found, context), context)
        }
        return x
    }

    private func opening(_ x: Tensor, _ context: Context) -> Tensor {
        layers.second(context.leakyReLU(layers.first(x, context), slope: Self.slope), context)
    }

    private func closing(_ stage: Stage, _ normed: Tensor, _ context: Context) -> Tensor {
        stage.convolution(context.leakyReLU(normed, slope: Self.slope), context)
    }

    /// The gradient of `x` from that of what `layer` makes of it.
    private func pullBack(
        _ dy: Tensor, _ x: Tensor, _ context: Context, _ layer: (Tensor) -> Tensor
    ) throws -> Tensor {
        let y = context.record { layer(x) }
        guard let dx = try context.backward(seeds: [(y, dy)])[x] else {
            preconditionFailure("a layer of the discriminator gave no gradient")
        }
        return dx
    }
}
