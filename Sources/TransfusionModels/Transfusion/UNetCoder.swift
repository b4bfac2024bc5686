internal import TransfusionCore

extension ModelConfiguration {
    /// Nil in a model without patches.
    func patchEncoder(in builder: ParameterBuilder) -> (any PatchEncoding)? {
        guard images == .diffusion else { return nil }
        return patchCoder == .unet ? UNetEncoder(self, in: builder) : PatchEncoder(self, in: builder)
    }

    /// Nil in a model without patches.
    func patchDecoder(in builder: ParameterBuilder) -> (any PatchDecoding)? {
        guard images == .diffusion else { return nil }
        return patchCoder == .unet ? UNetDecoder(self, in: builder) : PatchDecoder(self, in: builder)
    }

    /// Channels of each level of a U-Net, from the image's size downwards. Each level but the last halves height and width, so
    /// that a point of the last one is a patch.
    var unetLevels: [Int] {
        [Int](repeating: unetChannels, count: patchSize.trailingZeroBitCount)
            + [patchSize == 1 ? unetChannels : 2 * unetChannels]
    }

    func unetProblems() -> [ModelConfigurationProblem] {
        guard patchCoder == .unet else { return [] }
        func problem(_ key: String, _ message: String) -> [ModelConfigurationProblem] {
            [ModelConfigurationProblem(key: "model." + key, message: message)]
        }
        guard patchSize & (patchSize - 1) == 0 else {
            return problem(
                "patch", "a U-Net halves images until a patch is a point, so it takes 1, 2, 4, 8 …, not \(patchSize)")
        }
        guard !timestepAfterProjection else {
            return problem(
                "timestep_after_projection", "is for the linear patch_coder; a U-Net gets the time in each block")
        }
        guard unetChannels % UNetBlock.groups == 0, (UNetBlock.groups...4096).contains(unetChannels) else {
            return problem(
                "unet_channels", "must be a multiple of \(UNetBlock.groups) up to 4096, not \(unetChannels)")
        }
        return []
    }

    /// Numbers of an image that a U-Net holds at once when nothing is trained, roughly; 0 without one.
    public var unetElements: Int {
        guard patchCoder == .unet else { return 0 }
        let points = imageHeight * imageWidth
        let skips = unetLevels.enumerated().reduce(0) { $0 + (points >> (2 * $1.offset)) * $1.element }
        return (UNetBlock.perLevel + 1) * skips + 8 * points * unetChannels
    }
}

/// A residual block that gets the timestep, and attention between all pixels after it.
struct UNetBlock {
    /// Of the normalisations.
    static let groups = 32
    /// Blocks of a level on the way down; there is one more on the way up.
    static let perLevel = 2
    private static let epsilon: Float = 1e-5

    private let residual: ResidualBlock
    private let attention: PictureAttention?

    /// - Parameter place: What follows `name.resnets.` and `name.attentions.`.
    init(
        _ name: String, _ place: Int, inputs: Int, outputs: Int, hasAttention: Bool = true,
        _ configuration: ModelConfiguration, in builder: ParameterBuilder
    ) {
        residual = ResidualBlock(
            "\(name).resnets.\(place)", inputs: inputs, outputs: outputs, groups: Self.groups,
            timestepWidth: 4 * configuration.unetChannels, epsilon: Self.epsilon, in: builder)
        attention =
            hasAttention
            ? PictureAttention(
                "\(name).attentions.\(place)", channels: outputs, heads: Self.heads(outputs), groups: Self.groups,
                epsilon: Self.epsilon, in: builder)
            : nil
    }

    /// Heads of 64 channels, or of 32 where those do not fit.
    static func heads(_ channels: Int) -> Int { channels % 64 == 0 ? channels / 64 : channels / 32 }

    static func norm(_ name: String, channels: Int, in builder: ParameterBuilder) -> GroupNorm {
        GroupNorm(name, channels: channels, groups: groups, epsilon: epsilon, in: builder)
    }

    func callAsFunction(_ x: Tensor, _ timestep: Tensor, recomputes: Bool, _ context: Context) -> Tensor {
        let block: ([Tensor]) -> Tensor = { inputs in
            let x = residual(inputs[0], time: inputs[1], context)
            return attention.map { $0(x, context) } ?? x
        }
        guard !recomputes else { return context.checkpointed([x, timestep], block) }
        // Nodes of their own, so that gradients from inside are rounded and added to those outside at once, as above.
        return block([x, timestep].map { context.shaped($0, $0.shape) })
    }
}

/// The way down of a U-Net: from noised images to vectors of the transformer.
///
/// With diffusers' names it is the first half of their `UNet2DModel`, middle included, with attention on all levels.
/// ### References
/// Transfusion section 3 (the U-Net variant); Dhariwal and Nichol 2021, "Diffusion models beat GANs on image synthesis",
/// whose adaptive norms are plain ones here; decision D7 in docs/method.md.
struct UNetEncoder: PatchEncoding {
    private struct Level {
        let blocks: [UNetBlock]
        /// Nil on the last level.
        let down: Convolution?
    }

    private let timestepIn: Convolution
    private let timestepOut: Convolution
    private let sinusoidWidth: Int
    private let input: Convolution
    private let levels: [Level]
    private let middle: [UNetBlock]
    private let projection: Linear

    init(_ configuration: ModelConfiguration, in builder: ParameterBuilder) {
        let name = "patch_encoder", counts = configuration.unetLevels, padding = ConvolutionPadding(1)
        let timestepWidth = 4 * counts[0]
        sinusoidWidth = counts[0]
        timestepIn = Convolution(
            name + ".time_embedding.linear_1", inputs: sinusoidWidth, outputs: timestepWidth, kernel: nil, in: builder)
        timestepOut = Convolution(
            name + ".time_embedding.linear_2", inputs: timestepWidth, outputs: timestepWidth, kernel: nil, in: builder)
        input = Convolution(
            name + ".conv_in", inputs: configuration.imageChannels, outputs: counts[0], kernel: 3, padding: padding,
            in: builder)
        levels = counts.indices.map { level in
            let place = name + ".down_blocks.\(level)", outputs = counts[level]
            let blocks = (0..<UNetBlock.perLevel).map {
                UNetBlock(
                    place, $0, inputs: $0 == 0 && level > 0 ? counts[level - 1] : outputs, outputs: outputs,
                    configuration, in: builder)
            }
            let down =
                level + 1 == counts.count
                ? nil
                : Convolution(
                    place + ".downsamplers.0.conv", inputs: outputs, outputs: outputs, kernel: 3, stride: 2,
                    padding: padding, in: builder)
            return Level(blocks: blocks, down: down)
        }
        let width = counts[counts.count - 1]
        middle = (0..<2).map {
            UNetBlock(
                name + ".mid_block", $0, inputs: width, outputs: width, hasAttention: $0 == 0, configuration,
                in: builder)
        }
        projection = Linear(
            [name + ".projection"], inputs: width, outputs: [configuration.width], hasBias: true,
            standardDeviation: (1 / Float(width)).squareRoot(), in: builder)
    }

    func callAsFunction(_ images: NoisedImages, recomputes: Bool, _ context: Context) throws -> EncodedImages {
        let sinusoids = context.tensor(
            images.timesteps.flatMap { PatchEncoder.sinusoid($0, width: sinusoidWidth) },
            [images.count, 1, 1, sinusoidWidth])
        let timestep = context.silu(timestepOut(context.silu(timestepIn(sinusoids, context)), context))
        var x = input(images.patches, context)
        var skips = [x]
        for level in levels {
            for block in level.blocks {
                x = block(x, timestep, recomputes: recomputes, context)
                skips.append(x)
            }
            if let down = level.down {
                x = down(x, context)
                skips.append(x)
            }
        }
        for block in middle { x = block(x, timestep, recomputes: recomputes, context) }
        return EncodedImages(patches: try projection(x, context), timestep: timestep, skips: skips)
    }
}

/// The way up of a U-Net: from vectors of the transformer, and what its encoder passed by, to predicted noise.
struct UNetDecoder: PatchDecoding {
    private struct Level {
        let blocks: [UNetBlock]
        /// Follows on the doubling of height and width; nil on the last level.
        let up: Convolution?
    }

    private let projection: Linear
    private let levels: [Level]
    private let norm: GroupNorm
    private let output: Convolution
    /// Height and width in patches, and channels.
    private let smallest: [Int]

    init(_ configuration: ModelConfiguration, in builder: ParameterBuilder) {
        let name = "patch_decoder", counts = Array(configuration.unetLevels.reversed())
        let padding = ConvolutionPadding(1), patch = configuration.patchSize
        smallest = [configuration.imageHeight / patch, configuration.imageWidth / patch, counts[0]]
        projection = Linear(
            [name + ".projection"], inputs: configuration.width, outputs: [counts[0]], hasBias: true,
            standardDeviation: (1 / Float(configuration.width)).squareRoot(), in: builder)
        levels = counts.indices.map { level in
            let place = name + ".up_blocks.\(level)", outputs = counts[level]
            let blocks = (0...UNetBlock.perLevel).map { block in
                // The last skip of a level comes from the level above, or from the first convolution.
                let skip = block == UNetBlock.perLevel ? counts[min(level + 1, counts.count - 1)] : outputs
                let before = block == 0 && level > 0 ? counts[level - 1] : outputs
                return UNetBlock(
                    place, block, inputs: before + skip, outputs: outputs, configuration, in: builder)
            }
            let up =
                level + 1 == counts.count
                ? nil
                : Convolution(
                    place + ".upsamplers.0.conv", inputs: outputs, outputs: outputs, kernel: 3, padding: padding,
                    in: builder)
            return Level(blocks: blocks, up: up)
        }
        let width = counts[counts.count - 1]
        norm = UNetBlock.norm(name + ".conv_norm_out", channels: width, in: builder)
        output = Convolution(
            name + ".conv_out", inputs: width, outputs: configuration.imageChannels, kernel: 3, padding: padding,
            in: builder)
    }

    func callAsFunction(
        _ rows: Tensor, of images: EncodedImages, recomputes: Bool, _ context: Context
    ) throws -> Tensor {
        guard let time = images.timestep else { preconditionFailure("images of another encoder") }
        let count = rows.rows / (smallest[0] * smallest[1])
        let timestep = repeated(time, to: count, context)
        var x = context.shaped(try projection(rows, context), [count] + smallest)
        var skips = images.skips
        for level in levels {
            for block in level.blocks {
                let skip = repeated(skips.removeLast(), to: count, context)
                x = block(context.joinedChannels(x, skip), timestep, recomputes: recomputes, context)
            }
            if let up = level.up { x = up(context.upsample(x), context) }
        }
        return context.widened(output(norm(x, context, silu: true), context))
    }

    /// The branches of guidance begin with the same images, which are encoded once.
    private func repeated(_ x: Tensor, to images: Int, _ context: Context) -> Tensor {
        guard x.shape[0] != images else { return x }
        let shape = [images] + x.shape.dropFirst()
        return context.repeated(x, to: shape.dropLast().reduce(1, *)).reshaped(shape)
    }
}
