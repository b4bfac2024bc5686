internal import TransfusionCheckpoint
internal import TransfusionConfig
public import TransfusionCore
import TransfusionModels

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
    public struct Report: Encodable, Sendable, Equatable {
        public let lossText: Double
        public let lossImage: Double
        public let loss: Double
        /// λ in `loss`, and in the gradients.
        public let imageLossWeight: Double
        /// Rows with a text loss.
        public let targets: Int
        public let images: Int
        public let output: String

        enum CodingKeys: String, CodingKey {
            case lossText = "loss_text"
            case lossImage = "loss_image"
            case imageLossWeight = "image_loss_weight"
            case loss, targets, images, output
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
            lossText: sums.text / Double(max(layout.targetCount, 1)),
            lossImage: sums.image / Double(max(layout.imageCount, 1)),
            loss: weights.text * sums.text + weights.image * sums.image, imageLossWeight: imageLossWeight,
            targets: layout.targetCount, images: layout.imageCount, output: output)
        tensors += [("loss_text", report.lossText), ("loss_image", report.lossImage), ("loss", report.loss)].map {
            SafetensorsTensor($0.0, .f32, [1], [Float($0.1)])
        }
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
