internal import TransfusionCheckpoint
internal import TransfusionConfig
public import TransfusionCore
public import TransfusionModels

/// One explicit batch through a model, for comparison with any other implementation: all of `tf-eval forward`.
public struct ForwardEvaluation: Sendable {
    /// What `ModelArchive` opens.
    public var checkpoint: String
    /// A safetensors file with the batch: see `Batch`.
    public var batch: String
    /// Where the results go, a safetensors file.
    public var output: String
    /// Whether the gradient of every parameter is computed too.
    public var computesGradients = false
    /// λ; nil takes that of the run that the model comes from, and the paper's where there is none.
    public var imageLossWeight: Double?
    public var type = ElementType.f32
    /// Nil takes the processors that this process may use.
    public var threads: Int?

    public init(checkpoint: String, batch: String, output: String) {
        self.checkpoint = checkpoint
        self.batch = batch
        self.output = output
    }

    /// What the batch cost.
    public struct Report: Sendable, Equatable {
        /// The parts of the model's loss, each a mean over what it is measured on.
        public let losses: [NamedSum]
        /// λ in `loss`, and in the gradients.
        public let imageLossWeight: Double
        /// Rows with a text loss.
        public let targets: Int
        public let images: Int
        public let output: String

        /// The weighted sum of the parts.
        public var loss: Double { losses.loss }
        /// `loss_NAME` of each part, and `loss`.
        public var namedLosses: [(name: String, value: Double)] {
            losses.map { ("loss_" + $0.name, $0.mean) } + [("loss", loss)]
        }
    }

    /// - Parameter warn: Gets a line for each damaged checkpoint that is passed over.
    public func run(warn: (String) -> Void = { _ in }) throws -> Report {
        try SafetensorsWriter().checkPlace(output)
        let archive = try ModelArchive(checkpoint) { warn($0.description) }
        let configuration = archive.configuration
        let batch = try Batch(try SafetensorsFile(batch), for: configuration)
        let context = Context(pool: ThreadPool(threads: threads), type: type)
        let model = TransfusionModel(
            configuration, context,
            gradients: computesGradients ? { Tensor([$0], .f32, allocator: context.allocator) } : nil)
        try archive.load(into: model.parameters)

        let layout = batch.layout
        let images = batch.noisedImages(configuration, context)
        let imageLossWeight = try imageLossWeight ?? Self.imageLossWeight(of: archive)
        let weights = TransfusionModel.LossWeights(
            targets: layout.targetCount, images: layout.imageCount, imageLossWeight: imageLossWeight)
        func forward() throws -> (hidden: TransfusionModel.HiddenStates, losses: TransfusionModel.Losses) {
            let hidden = try model.hiddenStates(layout, images: images, context)
            return (hidden, try model.losses(of: hidden, layout, images: images, weights: weights, context))
        }
        let (hidden, sums) = computesGradients ? try context.record(forward) : try forward()
        let noise = images == nil ? [] : try model.predictedNoise(hidden, imageStarts: layout.imageStarts, context)
        var tensors = [
            logits(hidden, layout, model, context),
            SafetensorsTensor("noise_prediction", .f32, batch.imageShape(configuration), noise),
        ]
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
        let report = Report(
            losses: weights.parts(of: sums), imageLossWeight: imageLossWeight, targets: layout.targetCount,
            images: layout.imageCount, output: output)
        tensors += report.namedLosses.map { SafetensorsTensor($0.name, .f32, [1], [Float($0.value)]) }
        try SafetensorsWriter().write(tensors, metadata: ["format": "pt"], to: output)
        return report
    }

    private static func imageLossWeight(of archive: ModelArchive) throws -> Double {
        // A converted model is a checkpoint without a run.
        guard let run = archive.runDirectory.map(RunDirectory.init), run.isRun else {
            return RunConfiguration.Objective.paperImageLossWeight
        }
        return try RunConfiguration.load(run.configuration).objective.imageLossWeight
    }

    /// The logits of every row, made piece by piece while they are written, since all of them may be large.
    private func logits(
        _ hidden: TransfusionModel.HiddenStates, _ layout: RowLayout, _ model: TransfusionModel, _ context: Context
    ) -> SafetensorsTensor {
        let vocabulary = model.configuration.vocabulary
        let rowBytes = vocabulary * MemoryLayout<Float>.stride
        return SafetensorsTensor("logits", .f32, [layout.count, vocabulary]) { bytes, buffer in
            var done = bytes.lowerBound
            while done < bytes.upperBound {
                let first = done / rowBytes
                let last = min((bytes.upperBound + rowBytes - 1) / rowBytes, first + 64)
                let rows = try model.logits(hidden, rows: Array(Int32(first)..<Int32(last)), context)
                let part = done - first * rowBytes..<min(bytes.upperBound, last * rowBytes) - first * rowBytes
                UnsafeMutableRawBufferPointer(rebasing: buffer[(done - bytes.lowerBound)...])
                    .copyMemory(from: UnsafeRawBufferPointer(rebasing: rows.bytes[part]))
                done += part.count
            }
        }
    }
}

extension ForwardEvaluation.Report: Encodable {
    private struct Key: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }

        init(_ name: String) { stringValue = name }
        init?(stringValue: String) { self.init(stringValue) }
        init?(intValue: Int) { nil }
    }

    public func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Key.self)
        for (name, value) in namedLosses { try container.encode(value, forKey: Key(name)) }
        try container.encode(imageLossWeight, forKey: Key("image_loss_weight"))
        try container.encode(targets, forKey: Key("targets"))
        try container.encode(images, forKey: Key("images"))
        try container.encode(output, forKey: Key("output"))
    }
}
