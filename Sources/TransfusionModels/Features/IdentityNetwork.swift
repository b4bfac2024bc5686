public import TransfusionCore

/// How unlike pictures are to a ResNet-50 that was trained without labels: one less the cosine between their features.
///
/// The paper calls its loss L_ID "a perceptual loss based on MoCo v2 features" and no more; this is the public one of that
/// kind: pictures at 224 × 224 by nearest neighbour and as they are, the averaged features of the last stage at unit length.
/// ### References
/// He et al. 2016, "Deep residual learning", with the stride in the middle as torchvision has it; Chen et al. 2020, "MoCo v2";
/// Tov et al. 2021, "Designing an encoder for StyleGAN image manipulation", `MocoLoss`.
public final class IdentityNetwork: FeatureNetwork {
    /// Of a ResNet with bottlenecks.
    public struct Configuration: Sendable {
        public var width = 64
        public var depths = [3, 4, 6, 3]
        /// Height and width at which it sees pictures.
        public var side = 224

        /// ResNet-50.
        public init() {}

        public init(width: Int, depths: [Int], side: Int) {
            self.width = width
            self.depths = depths
            self.side = side
        }
    }

    private struct Bottleneck {
        let layers: [Convolution]
        let shortcut: Convolution?
    }

    public let parameters: ParameterStore
    public let smallestSide = 1
    private let side: Int
    private let first: Convolution
    private let blocks: [Bottleneck]

    /// A network without values: load `parameters` before use. Its batch normalisations, which are fixed, are part of its
    /// convolutions: a convolution `conv1` stands for itself and `bn1`, and has a bias.
    public init(_ context: Context, _ configuration: Configuration = Configuration()) {
        let builder = ParameterBuilder()
        side = configuration.side
        first = Convolution(
            "conv1", inputs: 3, outputs: configuration.width, kernel: 7, stride: 2, padding: ConvolutionPadding(3),
            in: builder)
        var inputs = configuration.width
        blocks = configuration.depths.enumerated().flatMap { stage, depth in
            (0..<depth).map { block in
                let name = "layer\(stage + 1).\(block)", width = configuration.width << stage
                let stride = block == 0 && stage > 0 ? 2 : 1
                defer { inputs = 4 * width }
                func layer(
                    _ part: String, _ inputs: Int, _ outputs: Int, kernel: Int, stride: Int = 1
                ) -> Convolution {
                    Convolution(
                        "\(name).\(part)", inputs: inputs, outputs: outputs, kernel: kernel, stride: stride,
                        padding: ConvolutionPadding(kernel / 2), in: builder)
                }
                return Bottleneck(
                    layers: [
                        layer("conv1", inputs, width, kernel: 1),
                        layer("conv2", width, width, kernel: 3, stride: stride),
                        layer("conv3", width, 4 * width, kernel: 1),
                    ],
                    shortcut: block == 0
                        ? layer("downsample.0", inputs, 4 * width, kernel: 1, stride: stride) : nil)
            }
        }
        parameters = ParameterStore(builder, type: context.type, allocator: context.allocator, gradients: nil)
    }

    /// The normalisation that is part of a convolution, by their names in files.
    public static func normalization(of convolution: String) -> String {
        convolution.hasSuffix("downsample.0")
            ? String(convolution.dropLast()) + "1" : convolution.replacing("conv", with: "bn")
    }

    public func distances(
        _ reconstructions: Tensor, from pictures: Tensor, scale: Float, _ context: Context
    ) -> [Double] {
        let target = context.withoutRecording { features(pictures, context) }
        return context.cosineDistance(features(reconstructions, context), target, scale: scale)
    }

    /// `[images, 1, 1, channels]`.
    private func features(_ pictures: Tensor, _ context: Context) -> Tensor {
        let resized = context.resizedNearest(pictures, height: side, width: side)
        var x = context.maxPool(context.leakyReLU(first(resized, context), slope: 0), size: 3, stride: 2, padding: 1)
        for block in blocks {
            let past = block.shortcut.map { $0(x, context) } ?? x
            let inner = block.layers.dropLast().reduce(x) { context.leakyReLU($1($0, context), slope: 0) }
            x = context.leakyReLU(block.layers[2](inner, context, addingTo: past), slope: 0)
        }
        return context.averagePool(x, size: x.shape[1], stride: 1)
    }
}
