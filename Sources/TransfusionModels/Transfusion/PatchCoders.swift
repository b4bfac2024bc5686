internal import Glibc
public import TransfusionCore

/// Makes vectors of the transformer out of noised images.
protocol PatchEncoding {
    /// - Parameter recomputes: Whether what is inside is forgotten, and made again in the backward pass.
    func callAsFunction(_ images: NoisedImages, recomputes: Bool, _ context: Context) throws -> EncodedImages
}

/// Predicts the noise of images from what the transformer made of their vectors.
protocol PatchDecoding {
    /// - Parameters:
    ///   - rows: `[images · patchesPerImage, width]` in the context's type: each encoded image once, or all of them several
    ///     times, copy after copy.
    ///   - recomputes: As for encoding.
    /// - Returns: The noise in the order of `Patches`, f32.
    func callAsFunction(_ rows: Tensor, of images: EncodedImages, recomputes: Bool, _ context: Context) throws -> Tensor
}

/// Images as the transformer gets them, and what goes past it to their decoder.
struct EncodedImages {
    /// `[images · patchesPerImage, width]` in the context's type.
    let patches: Tensor
    /// Of a U-Net: what SiLU makes of the timestep's vector, `[images, 1, 1, 4 · channels]`.
    var timestep: Tensor?
    /// Of a U-Net: the result of each layer on the way down.
    var skips: [Tensor] = []
}

/// From noised patches and their timestep to vectors of the transformer.
///
/// The timestep becomes a vector by sinusoid → linear → SiLU → linear; that vector, projected to the size of a patch, is
/// added to every patch of its image before the patch projection (or, by an option, as it is after the projection).
///
/// ### References
/// Transfusion section 3 (the linear variant); decision D6 in docs/method.md.
struct PatchEncoder: PatchEncoding {
    static let sinusoidWidth = 256

    let timestepIn: Linear
    let timestepOut: Linear
    /// Nil when the timestep joins after the patch projection.
    let timestepProjection: Linear?
    let projection: Linear

    init(_ configuration: ModelConfiguration, in builder: ParameterBuilder) {
        let width = configuration.width, deviation = configuration.initialDeviation
        func linear(_ name: String, _ inputs: Int, _ outputs: Int) -> Linear {
            Linear(
                ["patch_encoder." + name], inputs: inputs, outputs: [outputs], hasBias: true,
                standardDeviation: deviation, in: builder)
        }
        timestepIn = linear("timestep.linear_1", Self.sinusoidWidth, width)
        timestepOut = linear("timestep.linear_2", width, width)
        timestepProjection =
            configuration.timestepAfterProjection
            ? nil : linear("timestep.projection", width, configuration.patchWidth)
        // The constant is longer than a patch. Without it RMSNorm divides every patch by its own length, and that length
        // is part of the noise to be found.
        projection = Linear(
            ["patch_encoder.projection"], inputs: configuration.patchWidth, outputs: [width], hasBias: true,
            standardDeviation: (1 / Float(configuration.patchWidth)).squareRoot(), biasDeviation: 2, in: builder)
    }

    func callAsFunction(_ images: NoisedImages, recomputes: Bool, _ context: Context) throws -> EncodedImages {
        EncodedImages(patches: try patches(images, context))
    }

    private func patches(_ images: NoisedImages, _ context: Context) throws -> Tensor {
        let sinusoid = context.tensor(
            images.timesteps.flatMap { Self.sinusoid($0) }, [images.timesteps.count, Self.sinusoidWidth])
        let timestep = try timestepOut(context.silu(try timestepIn(sinusoid, context)), context)
        if let timestepProjection {
            let addend = try timestepProjection(timestep, context)
            return try projection(context.addToGroups(images.patches, addend), context)
        }
        return context.addToGroups(try projection(images.patches, context), timestep)
    }

    /// cos ‖ sin of the timestep at the frequencies `10000^(−2j / width)`.
    static func sinusoid(_ timestep: Int32, width: Int = sinusoidWidth) -> [Float] {
        let half = width / 2
        let angles = (0..<half).map { Double(timestep) * pow(10000, -Double($0) / Double(half)) }
        return angles.map { Float(cos($0)) } + angles.map { Float(sin($0)) }
    }
}

/// From vectors of the transformer to predicted noise.
struct PatchDecoder: PatchDecoding {
    let projection: Linear

    init(_ configuration: ModelConfiguration, in builder: ParameterBuilder) {
        projection = Linear(
            ["patch_decoder.projection"], inputs: configuration.width, outputs: [configuration.patchWidth],
            hasBias: true, standardDeviation: configuration.initialDeviation, in: builder)
    }

    func callAsFunction(
        _ rows: Tensor, of images: EncodedImages, recomputes: Bool, _ context: Context
    ) throws -> Tensor {
        try projection(rows, context, result: .f32)
    }
}

/// Images on their way into the model: noised, cut into patches, with what the model shall find in them.
public struct NoisedImages {
    /// x_t in the order and shape of `Patches`, in the context's type.
    let patches: Tensor
    /// The timestep of each image, from 0.
    let timesteps: [Int32]
    /// ε in the same order, f32; nil when sampling.
    let noise: Tensor?
    /// Whether each image is only shown to the model, without noise and without a loss; empty where none is.
    let isClean: [Bool]

    public var count: Int { timesteps.count }

    /// Adds noise to images, as in training.
    ///
    /// - Parameters:
    ///   - latents: x0, `[images, channels, height, width]`; empty with sizes only.
    ///   - noise: ε, the same shape.
    ///   - timesteps: One for each image, in `0..<schedule.timesteps`.
    ///   - isClean: Whether an image is only shown, as it is and without a loss; empty when all are noised.
    public init(
        latents: [Float], noise: [Float], timesteps: [Int32], isClean: [Bool] = [], schedule: NoiseSchedule,
        configuration: ModelConfiguration, _ context: Context
    ) {
        let order = Patches(configuration)
        var noised = [Float](repeating: 0, count: latents.count)
        context.compute {
            precondition(latents.count == timesteps.count * order.imageCount && noise.count == latents.count)
            for (image, timestep) in timesteps.enumerated() {
                let isShown = !isClean.isEmpty && isClean[image]
                let signal = isShown ? 1 : Float(schedule.signal(Int(timestep)))
                let deviation = isShown ? 0 : Float(schedule.deviation(Int(timestep)))
                for i in image * order.imageCount..<(image + 1) * order.imageCount {
                    noised[i] = signal * latents[i] + deviation * noise[i]
                }
            }
        }
        let count = timesteps.count
        self.init(
            patches: context.converted(Self.patches(noised, count, configuration, context), to: context.type),
            timesteps: timesteps, noise: Self.patches(noise, count, configuration, context), isClean: isClean)
    }

    /// Images that are noised already, as in sampling.
    public init(noised: [Float], timesteps: [Int32], configuration: ModelConfiguration, _ context: Context) {
        self.init(
            patches: context.converted(
                Self.patches(noised, timesteps.count, configuration, context), to: context.type),
            timesteps: timesteps, noise: nil)
    }

    private init(patches: Tensor, timesteps: [Int32], noise: Tensor?, isClean: [Bool] = []) {
        self.patches = patches
        self.timesteps = timesteps
        self.noise = noise
        self.isClean = isClean
    }

    private static func patches(
        _ images: [Float], _ count: Int, _ configuration: ModelConfiguration, _ context: Context
    ) -> Tensor {
        let order = Patches(configuration)
        let patches = context.empty(order.shape(count), .f32)
        context.compute {
            images.withUnsafeBufferPointer { order.split($0.baseAddress!, into: patches.floatPointer, count: count) }
        }
        return patches
    }
}
