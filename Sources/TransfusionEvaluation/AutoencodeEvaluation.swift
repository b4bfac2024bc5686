internal import TransfusionCheckpoint
public import TransfusionCore
internal import TransfusionModels

/// One explicit batch of pictures through an autoencoder, for comparison with any other implementation: all of
/// `tf-eval autoencode`.
public struct AutoencodeEvaluation: Sendable {
    /// What `AutoencoderWeights` opens.
    public var checkpoint: String
    /// A safetensors file with `images` f32 [N, C, H, W] in [−1, 1], and for an autoencoder with a normal distribution
    /// `noise` f32 [N, c, h, w]; without noise the means are decoded.
    public var batch: String
    /// Where the results go, a safetensors file.
    public var output: String
    /// Whether the gradient of every parameter is computed too.
    public var computesGradients = false
    public var type = ElementType.f32
    /// Nil takes the processors that this process may use.
    public var threads: Int?

    /// Weight of the divergence in the total loss: the paper's.
    public static let divergenceWeight = 1e-6

    public init(checkpoint: String, batch: String, output: String) {
        self.checkpoint = checkpoint
        self.batch = batch
        self.output = output
    }

    /// What the batch cost.
    public struct Report: Encodable, Sendable, Equatable {
        public let images: Int
        /// Mean over all numbers of all pictures.
        public let lossReconstruction: Double
        /// Summed over the numbers of a picture's latents, mean over pictures; nil with a codebook.
        public let lossDivergence: Double?
        /// Mean over all numbers of all vectors; nil without a codebook.
        public let lossCodebook: Double?
        /// Codes that the batch uses; nil without a codebook.
        public let codesUsed: Int?
        public let output: String

        enum CodingKeys: String, CodingKey {
            case lossReconstruction = "loss_reconstruction"
            case lossDivergence = "loss_kl"
            case lossCodebook = "loss_codebook"
            case codesUsed = "codes_used"
            case images, output
        }
    }

    public func run() throws -> Report {
        try SafetensorsWriter().checkPlace(output)
        let weights = try AutoencoderWeights(checkpoint)
        let configuration = weights.configuration
        let batch = try Batch(try SafetensorsFile(batch), for: configuration)
        let context = Context(pool: ThreadPool(threads: threads), type: type)
        let model = Autoencoder(
            configuration, context,
            gradients: computesGradients ? { Tensor([$0], .f32, allocator: context.allocator) } : nil)
        try weights.load(into: model.parameters)

        let images = batch.shape[0], pictureCount = Double(batch.images.count)
        let latentCount =
            pictureCount / Double(configuration.pictureChannels * configuration.downsampling)
            / Double(configuration.downsampling) * Double(configuration.latentChannels)
        let isGaussian = configuration.kind == .kl
        let scales = Autoencoder.LossScales(
            absoluteError: Float(1 / pictureCount),
            latentError: Float(isGaussian ? Self.divergenceWeight / Double(images) : 1 / latentCount))
        let target = context.pictures(batch.images, batch.shape, .f32)
        func forward() -> Autoencoder.Pass {
            model.reconstruct(
                context.converted(target, to: type), target: target,
                noise: batch.noise.map { context.pictures($0, batch.latentShape(configuration), .f32) },
                scales: scales, context)
        }
        let pass = computesGradients ? context.record(forward) : forward()
        let latentError = pass.latentErrors.reduce(0, +)
        let report = Report(
            images: images, lossReconstruction: pass.absoluteErrors.reduce(0, +) / pictureCount,
            lossDivergence: isGaussian ? latentError / Double(images) : nil,
            lossCodebook: isGaussian
                ? nil : (1 + Double(AutoencoderConfiguration.commitment)) * latentError / latentCount,
            codesUsed: pass.codes.map { Set($0.i32).count }, output: output)
        var tensors = results(of: pass, batch, configuration, report, context)
        if computesGradients {
            try context.backward()
            tensors += model.parameters.parameters.compactMap { parameter in
                parameter.gradient.map { gradient in
                    SafetensorsTensor("grad." + parameter.name, .f32, parameter.globalShape) { range, buffer in
                        buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: gradient.bytes[range]))
                    }
                }
            }
        }
        try SafetensorsWriter().write(tensors, metadata: ["format": "pt"], to: output)
        return report
    }

    private func results(
        of pass: Autoencoder.Pass, _ batch: Batch, _ configuration: AutoencoderConfiguration, _ report: Report,
        _ context: Context
    ) -> [SafetensorsTensor] {
        let shape = batch.latentShape(configuration)
        var tensors = [
            SafetensorsTensor("reconstruction", .f32, batch.shape, context.channelsFirst(pass.reconstruction))
        ]
        let losses = [
            ("loss_reconstruction", report.lossReconstruction), ("loss_kl", report.lossDivergence),
            ("loss_codebook", report.lossCodebook),
        ]
        for (name, value) in losses {
            if let value { tensors.append(SafetensorsTensor(name, .f32, [1], [Float(value)])) }
        }
        if let codes = pass.codes {
            tensors.append(SafetensorsTensor("codes", .i32, [shape[0], shape[2], shape[3]], Array(codes.i32)))
            return tensors
        }
        // Of each image all means come first, and then all logvars.
        let moments = context.channelsFirst(pass.features), half = shape[1] * shape[2] * shape[3]
        for (name, start) in [("mean", 0), ("logvar", half)] {
            var values: [Float] = []
            for image in 0..<shape[0] {
                let first = 2 * half * image + start
                values += moments[first..<first + half]
            }
            if name == "logvar" { values = values.map { min(max($0, -30), 20) } }
            tensors.append(SafetensorsTensor(name, .f32, shape, values))
        }
        return tensors + [SafetensorsTensor("latents", .f32, shape, context.channelsFirst(pass.latents))]
    }
}

extension AutoencodeEvaluation {
    private struct Batch {
        /// [N, C, H, W].
        let shape: [Int]
        let images: [Float]
        let noise: [Float]?

        init(_ file: SafetensorsFile, for configuration: AutoencoderConfiguration) throws {
            func fail(_ problem: String) -> CheckpointError { CheckpointError(file.path, problem) }
            if let unknown = file.entries.first(where: { !["images", "noise"].contains($0.name) }) {
                throw fail("has the unknown tensor \(unknown.name)")
            }
            shape = try file.entry("images").shape
            guard shape.count == 4, shape.allSatisfy({ $0 > 0 }), shape[1] == configuration.pictureChannels else {
                throw fail("tensor images has the shape \(shape), not [N, \(configuration.pictureChannels), H, W]")
            }
            let side = configuration.downsampling
            guard shape[2] % side == 0, shape[3] % side == 0 else {
                throw fail("tensor images has pictures of \(shape[2]) × \(shape[3]); multiples of \(side) are needed")
            }
            images = try file.elements("images", as: .f32)
            guard file["noise"] != nil else {
                noise = nil
                return
            }
            guard configuration.kind == .kl else { throw fail("has noise, for which a codebook has no use") }
            let expected = [shape[0], configuration.latentChannels, shape[2] / side, shape[3] / side]
            guard try file.entry("noise").shape == expected else {
                throw fail("tensor noise has the shape \(try file.entry("noise").shape), not the expected \(expected)")
            }
            noise = try file.elements("noise", as: .f32)
        }

        func latentShape(_ configuration: AutoencoderConfiguration) -> [Int] {
            let side = configuration.downsampling
            return [shape[0], configuration.latentChannels, shape[2] / side, shape[3] / side]
        }
    }
}
