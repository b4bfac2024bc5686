internal import TransfusionCore

/// From pictures to features: `[images, height, width, channels]` with height and width divided by the downsampling.
///
/// ### References
/// Esser, Rombach and Ommer 2021, "Taming transformers", as diffusers' `Encoder` has it.
struct PictureEncoder {
    private struct Level {
        let blocks: [ResidualBlock]
        /// Nil on the last level.
        let down: Convolution?
    }

    private let input: Convolution
    private let levels: [Level]
    private let middle: MiddleBlock
    private let norm: GroupNorm
    private let output: Convolution

    init(_ configuration: AutoencoderConfiguration, in builder: ParameterBuilder) {
        let counts = configuration.levels, groups = configuration.groups
        input = Convolution(
            "encoder.conv_in", inputs: configuration.pictureChannels, outputs: counts[0], kernel: 3,
            padding: ConvolutionPadding(1), in: builder)
        levels = counts.indices.map { level in
            let name = "encoder.down_blocks.\(level)", outputs = counts[level]
            let blocks = (0..<configuration.blocksPerLevel).map {
                ResidualBlock(
                    name + ".resnets.\($0)", inputs: $0 == 0 && level > 0 ? counts[level - 1] : outputs,
                    outputs: outputs, groups: groups, in: builder)
            }
            // A row of zeros below and a column on the right, and none above and on the left.
            let down =
                level + 1 == counts.count
                ? nil
                : Convolution(
                    name + ".downsamplers.0.conv", inputs: outputs, outputs: outputs, kernel: 3, stride: 2,
                    padding: ConvolutionPadding(top: 0, left: 0, bottom: 1, right: 1), in: builder)
            return Level(blocks: blocks, down: down)
        }
        let width = counts[counts.count - 1]
        middle = MiddleBlock("encoder.mid_block", channels: width, configuration, in: builder)
        norm = GroupNorm(
            "encoder.conv_norm_out", channels: width, groups: groups, epsilon: AutoencoderConfiguration.normEpsilon,
            in: builder)
        output = Convolution(
            "encoder.conv_out", inputs: width, outputs: configuration.encoderChannels, kernel: 3,
            padding: ConvolutionPadding(1), in: builder)
    }

    func callAsFunction(_ pictures: Tensor, recomputes: Bool, _ context: Context) -> Tensor {
        var x = input(pictures, context)
        for level in levels {
            for block in level.blocks { x = block.run(x, recomputes: recomputes, context) }
            if let down = level.down { x = down(x, context) }
        }
        return output(norm(middle(x, context), context, silu: true), context)
    }
}

/// From features to pictures: diffusers' `Decoder`.
struct PictureDecoder {
    private struct Level {
        let blocks: [ResidualBlock]
        /// Follows on the doubling of height and width; nil on the last level.
        let up: Convolution?
    }

    private let input: Convolution
    private let middle: MiddleBlock
    private let levels: [Level]
    private let norm: GroupNorm
    /// Makes the pictures.
    let output: Convolution

    init(_ configuration: AutoencoderConfiguration, in builder: ParameterBuilder) {
        let counts = Array(configuration.levels.reversed()), groups = configuration.groups
        input = Convolution(
            "decoder.conv_in", inputs: configuration.decoderChannels, outputs: counts[0], kernel: 3,
            padding: ConvolutionPadding(1), in: builder)
        middle = MiddleBlock("decoder.mid_block", channels: counts[0], configuration, in: builder)
        levels = counts.indices.map { level in
            let name = "decoder.up_blocks.\(level)", outputs = counts[level]
            let blocks = (0...configuration.blocksPerLevel).map {
                ResidualBlock(
                    name + ".resnets.\($0)", inputs: $0 == 0 && level > 0 ? counts[level - 1] : outputs,
                    outputs: outputs, groups: groups, in: builder)
            }
            let up =
                level + 1 == counts.count
                ? nil
                : Convolution(
                    name + ".upsamplers.0.conv", inputs: outputs, outputs: outputs, kernel: 3,
                    padding: ConvolutionPadding(1), in: builder)
            return Level(blocks: blocks, up: up)
        }
        let width = counts[counts.count - 1]
        norm = GroupNorm(
            "decoder.conv_norm_out", channels: width, groups: groups, epsilon: AutoencoderConfiguration.normEpsilon,
            in: builder)
        output = Convolution(
            "decoder.conv_out", inputs: width, outputs: configuration.pictureChannels, kernel: 3,
            padding: ConvolutionPadding(1), in: builder)
    }

    /// What `output` makes the pictures of.
    func features(of features: Tensor, recomputes: Bool, _ context: Context) -> Tensor {
        var x = middle(input(features, context), context)
        for level in levels {
            for block in level.blocks { x = block.run(x, recomputes: recomputes, context) }
            if let up = level.up { x = up(context.upsample(x), context) }
        }
        return norm(x, context, silu: true)
    }
}
