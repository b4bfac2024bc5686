public import TransfusionCore

/// Pictures to latents and back: a variational autoencoder, or one with a codebook.
///
/// Pictures are `[images, height, width, channels]` in [−1, 1], in the context's type; height and width are multiples of
/// `configuration.downsampling`.
/// ### References
/// Esser, Rombach and Ommer 2021, "Taming transformers for high-resolution image synthesis"; Rombach et al. 2022,
/// "High-resolution image synthesis with latent diffusion models"; Transfusion section 4.1 and appendix A.
public final class Autoencoder {
    public let configuration: AutoencoderConfiguration
    public let parameters: ParameterStore
    private let layers: Layers
    private let recomputes: Bool

    private struct Layers {
        let encoder: PictureEncoder
        let toLatents: Convolution?
        let codebook: Parameter?
        let fromLatents: Convolution?
        let decoder: PictureDecoder

        init(_ configuration: AutoencoderConfiguration, in builder: ParameterBuilder) {
            let latents = configuration.latentChannels, isGaussian = configuration.kind == .kl
            encoder = PictureEncoder(configuration, in: builder)
            toLatents =
                configuration.projectsToLatents
                ? Convolution(
                    "quant_conv", inputs: configuration.encoderChannels, outputs: isGaussian ? 2 * latents : latents,
                    kernel: 1, in: builder) : nil
            // As wide as uniform numbers within 1 / codes; where only angles count, about as long as what they are compared with.
            let deviation: Float =
                configuration.codeNorm == .l2
                ? 1 / Float(latents).squareRoot()
                : 1 / (3 * Float(configuration.codes * configuration.codes)).squareRoot()
            codebook =
                isGaussian
                ? nil
                : builder.parameter(
                    Autoencoder.codebookName, [configuration.codes, latents], .normal(standardDeviation: deviation))
            fromLatents =
                configuration.projectsFromLatents
                ? Convolution(
                    "post_quant_conv", inputs: latents, outputs: configuration.decoderChannels, kernel: 1, in: builder)
                : nil
            decoder = PictureDecoder(configuration, in: builder)
        }
    }

    /// The name of the codebook, `[codes, latent channels]`.
    package static let codebookName = "quantize.embedding.weight"
    /// What the names of a codebook's averages begin with in checkpoints.
    package static let codebookStatePrefix = "codebook."
    /// nil without one.
    package var codebook: Parameter? { layers.codebook }

    /// All parameters, without memory for their values.
    public static func parameters(_ configuration: AutoencoderConfiguration) -> [Parameter] {
        let builder = ParameterBuilder()
        _ = Layers(configuration, in: builder)
        return builder.groups.flatMap { $0 }
    }

    /// How many parameters there are, without making them.
    public static func parameterCount(_ configuration: AutoencoderConfiguration) -> Int {
        parameters(configuration).reduce(0) { $0 + $1.globalCount }
    }

    private static func builder(trainsCodebook: Bool) -> ParameterBuilder {
        ParameterBuilder(rules: ParameterRules(frozen: trainsCodebook ? [] : [codebookName]))
    }

    /// How many elements matrices and vectors take, gaps for alignment included, without making the model.
    static func elementCounts(
        _ configuration: AutoencoderConfiguration, trainsCodebook: Bool
    ) -> ParameterStore.ElementCounts {
        let builder = builder(trainsCodebook: trainsCodebook)
        _ = Layers(configuration, in: builder)
        return ParameterStore.place(builder)
    }

    /// An autoencoder without values: initialise or load `parameters` before use.
    ///
    /// - Parameters:
    ///   - configuration: One without `problems()`.
    ///   - recomputes: Whether the backward pass computes the insides of all blocks again instead of keeping them.
    ///   - trainsCodebook: Whether a codebook has a gradient; else it is frozen.
    ///   - gradients: Makes the buffer for the gradients, given its length; nil for a model that is not trained.
    public init(
        _ configuration: AutoencoderConfiguration, _ context: Context, recomputes: Bool = false,
        trainsCodebook: Bool = true, gradients: ((Int) throws -> Tensor)? = nil
    ) rethrows {
        self.configuration = configuration
        self.recomputes = recomputes
        let builder = Self.builder(trainsCodebook: trainsCodebook)
        layers = Layers(configuration, in: builder)
        parameters = try ParameterStore(
            builder, type: context.type, allocator: context.allocator, gradients: gradients)
    }

    /// What the encoder says of pictures: `[mean | logvar]` of the latents' distribution, or with a codebook the vectors
    /// before they are replaced by codes.
    public func features(of pictures: Tensor, _ context: Context) -> Tensor {
        let side = configuration.downsampling
        precondition(
            pictures.shape[1].isMultiple(of: side) && pictures.shape[2].isMultiple(of: side),
            "pictures of \(pictures.shape) are not divided by \(side)")
        let features = layers.encoder(pictures, recomputes: recomputes, context)
        return layers.toLatents.map { $0(features, context) } ?? features
    }

    /// The latents of pictures, `[images, height, width, latent channels]`: the means of their distribution, or the vectors of
    /// their codes.
    public func latents(of pictures: Tensor, _ context: Context) -> Tensor {
        let features = features(of: pictures, context), images = pictures.shape[0]
        guard let codebook = layers.codebook else {
            return context.gaussianLatents(features, noise: nil, images: images, scale: 0).latents
        }
        return lookup(features, codebook, images: images, context).vectors
    }

    private func lookup(
        _ features: Tensor, _ codebook: Parameter, images: Int, scale: Float = 0, _ context: Context
    ) -> Context.Lookup {
        context.quantized(
            features, codebook: codebook, hasUnitLength: configuration.codeNorm == .l2, images: images,
            commitment: AutoencoderConfiguration.commitment, scale: scale)
    }

    /// The numbers of the codes of pictures, `images · height · width` of them. Only with a codebook.
    public func codes(of pictures: Tensor, _ context: Context) -> [Int32] {
        let features = features(of: pictures, context)
        let codes = lookup(features, requiredCodebook, images: pictures.shape[0], context).codes
        return withExtendedLifetime(codes) { Array(codes.i32) }
    }

    /// The latents `[images, height, width, latent channels]` of the numbers of codes, of which `shape` says images, height and
    /// width. Only with a codebook.
    public func latents(ofCodes codes: [Int32], _ shape: [Int], _ context: Context) -> Tensor {
        context.vectors(ofCodes: codes, requiredCodebook, hasUnitLength: configuration.codeNorm == .l2)
            .reshaped(shape + [configuration.latentChannels])
    }

    private var requiredCodebook: Parameter {
        guard let codebook = layers.codebook else {
            preconditionFailure("an autoencoder without a codebook has no codes")
        }
        return codebook
    }

    /// Pictures of latents `[images, height, width, latent channels]`.
    public func pictures(of latents: Tensor, _ context: Context) -> Tensor {
        layers.decoder.output(lastFeatures(of: latents, context), context)
    }

    /// What the decoder's last layer makes the pictures of.
    private func lastFeatures(of latents: Tensor, _ context: Context) -> Tensor {
        layers.decoder.features(
            of: layers.fromLatents.map { $0(latents, context) } ?? latents, recomputes: recomputes, context)
    }

    /// The gradient that the weight of the decoder's last layer gets from that of the pictures: f32, of the weight's shape.
    public func lastLayerGradient(_ pass: Pass, _ gradient: Tensor, _ context: Context) -> Tensor {
        layers.decoder.output.weightGradient(pass.lastFeatures, gradient, context)
    }

    /// What pictures went through.
    public struct Pass {
        /// See `features(of:_:)`.
        public let features: Tensor
        /// What the decoder got: drawn, or vectors of the codebook.
        public let latents: Tensor
        /// The number of each code, i32, with a codebook.
        public let codes: Tensor?
        /// What the codes were compared with: the features, or these with a length of 1.
        package let compared: Tensor?
        /// What the decoder's last layer got.
        let lastFeatures: Tensor
        public let reconstruction: Tensor
        /// Of each image: Σ |reconstruction − picture|; empty without a target.
        public let absoluteErrors: [Double]
        /// Of each image: the divergence from the unit normal, or with a codebook Σ (code − feature)².
        public let latentErrors: [Double]
    }

    /// What the sums of a `Pass` are multiplied by in the total loss.
    public struct LossScales {
        public var absoluteError: Float
        /// Of the divergence, or of the codebook's sum before it is split into both of its parts.
        public var latentError: Float

        public init(absoluteError: Float, latentError: Float) {
            self.absoluteError = absoluteError
            self.latentError = latentError
        }
    }

    /// Pictures through the whole model, with the losses; while recording, `backward` then gives their gradients.
    ///
    /// - Parameters:
    ///   - target: The pictures in f32, which the reconstruction is compared with; with nil it is not.
    ///   - noise: Unit normal numbers, f32, as many as latents; nil takes the means. Of no use with a codebook.
    public func reconstruct(
        _ pictures: Tensor, target: Tensor?, noise: Tensor?, scales: LossScales, _ context: Context
    ) -> Pass {
        let images = pictures.shape[0]
        let features = features(of: pictures, context)
        let latents: Tensor, found: Context.Lookup?, errors: [Double]
        if let codebook = layers.codebook {
            let lookup = lookup(features, codebook, images: images, scale: scales.latentError, context)
            (latents, found, errors) = (lookup.vectors, lookup, lookup.errors)
        } else {
            let drawn = context.gaussianLatents(features, noise: noise, images: images, scale: scales.latentError)
            (latents, found, errors) = (drawn.latents, nil, drawn.divergences)
        }
        let last = lastFeatures(of: latents, context)
        let reconstruction = layers.decoder.output(last, context)
        let absoluteErrors = target.map {
            context.absoluteError(reconstruction, target: $0, scale: scales.absoluteError)
        }
        return Pass(
            features: features, latents: latents, codes: found?.codes, compared: found?.compared, lastFeatures: last,
            reconstruction: reconstruction, absoluteErrors: absoluteErrors ?? [], latentErrors: errors)
    }
}
