public import TransfusionCore

/// LPIPS: how far the features of VGG-16 lie apart, at five depths, weighted by what people found alike.
///
/// ### References
/// Zhang et al. 2018, "The unreasonable effectiveness of deep features as a perceptual metric", version 0.1 with VGG-16;
/// Simonyan and Zisserman 2015, configuration D.
public final class PerceptualNetwork: FeatureNetwork {
    public let parameters: ParameterStore
    public let smallestSide = 16
    private let stages: [[Convolution]]
    private let heads: [Parameter]

    /// VGG-16's channels of each stage.
    public static let channels = [64, 128, 256, 512, 512]
    private static let depths = [2, 2, 3, 3, 3]
    // Of the pictures that VGG was trained on, for values in [−1, 1].
    private static let mean: [Float] = [-0.030, -0.088, -0.188]
    private static let deviation: [Float] = [0.458, 0.448, 0.450]

    /// A network without values: load `parameters` before use.
    /// - Parameter channels: Of the five stages; a test takes fewer.
    public init(_ context: Context, channels: [Int] = PerceptualNetwork.channels) {
        let builder = ParameterBuilder()
        var index = 0, inputs = 3
        stages = zip(channels, Self.depths).map { outputs, depth in
            let stage = (0..<depth).map { layer in
                Convolution(
                    "features.\(index + 2 * layer)", inputs: layer == 0 ? inputs : outputs, outputs: outputs, kernel: 3,
                    padding: ConvolutionPadding(1), in: builder)
            }
            // Behind each convolution an activation, and behind each stage a pooling.
            index += 2 * depth + 1
            inputs = outputs
            return stage
        }
        // Vectors stay in f32.
        heads = channels.enumerated().map { builder.parameter("lin\($0).model.1.weight", [$1], .zeros) }
        parameters = ParameterStore(builder, type: context.type, allocator: context.allocator, gradients: nil)
    }

    public func distances(
        _ reconstructions: Tensor, from pictures: Tensor, scale: Float, _ context: Context
    ) -> [Double] {
        let targets = context.withoutRecording { features(pictures, context) }
        var sums = [Double](repeating: 0, count: pictures.shape[0])
        for (depth, (found, target)) in zip(features(reconstructions, context), targets).enumerated() {
            let part = context.featureDistance(found, target, weights: heads[depth].value, scale: scale)
            for image in sums.indices { sums[image] += part[image] }
        }
        return sums
    }

    /// What the last activation of each stage gives.
    private func features(_ pictures: Tensor, _ context: Context) -> [Tensor] {
        var x = context.standardized(pictures, mean: Self.mean, deviation: Self.deviation)
        return stages.enumerated().map { index, stage in
            if index > 0 { x = context.maxPool(x, size: 2, stride: 2) }
            for layer in stage { x = context.leakyReLU(layer(x, context), slope: 0) }
            return x
        }
    }
}
