internal import Foundation
internal import TransfusionCheckpoint
internal import TransfusionConfig
internal import TransfusionCore
internal import TransfusionData
internal import TransfusionInference
internal import TransfusionModels
internal import TransfusionParallel

/// Next-token loss on text and ε-prediction on images, with one model.
struct TransfusionTask: RunTask {
    let configuration: RunConfiguration
    let source: BatchSource
    let objective: TransfusionObjective
    let players: [Player]
    let resources: TrainingResources
    private let heldOut: [HeldOut]
    private let samples: TrainingSamples
    private let dataReport: MixtureReport

    /// Sequences that are measured and not trained on.
    struct HeldOut {
        /// The data set's name, where it is one of several; nil for the data of the run as they are mixed at its beginning.
        let name: String?
        let source: BatchSource
    }

    /// What a run reads before anything is made.
    struct Inputs {
        let source: BatchSource
        /// That of all data first; empty when the configuration wants nothing measured.
        let heldOut: [HeldOut]
        let samples: TrainingSamples
        /// What the run takes from its data, for people.
        let report: MixtureReport

        /// - Parameter ranks: The processes that will train.
        /// - Throws: `ConfigurationError` and `DataError`, which say what does not fit and what would.
        init(_ configuration: RunConfiguration, ranks: Int) throws {
            let data = try DataMixture(configuration.data)
            source = try BatchSource(configuration, data: data, ranks: ranks)
            let evaluation = configuration.evaluation
            heldOut =
                try evaluation.everySteps == nil ? [] : Self.heldOut(source, sequences: evaluation.sequences)
            samples = try TrainingSamples(configuration, tokenizer: data.tokenizer, latents: data.latents)
            report = try MixtureReport(source, steps: configuration.schedule.steps)
        }

        /// What measures a model that is not trained.
        /// - Parameter split: The data that it is measured on.
        init(measuring configuration: RunConfiguration, split: String) throws {
            let data = try DataMixture(configuration.data)
            source = try BatchSource(configuration, data: data)
            heldOut = try Self.heldOut(
                source, split: split, sequences: configuration.evaluation.sequences,
                refusal: (asker: "split", remedy: "name another"))
            samples = try TrainingSamples(configuration, tokenizer: data.tokenizer)
            report = try MixtureReport(source, steps: configuration.schedule.steps)
        }

        private static func heldOut(
            _ source: BatchSource, split splitName: String = "validation", sequences: Int,
            refusal: (asker: String, remedy: String) = (
                "evaluation.every_steps", "import the data with a part for validation, or turn it off"
            )
        ) throws -> [HeldOut] {
            for dataset in source.data.datasets {
                if let split = try? dataset.split(splitName), split.pairs > 0 || split.documents > 0 { continue }
                throw CommandFailure(
                    "\(refusal.asker): \(dataset.path) has no split \"\(splitName)\"; \(refusal.remedy)", .wrongUse)
            }
            var settings = source.settings
            settings.globalSequences = sequences
            // Runs with other seeds are measured on the same.
            settings.seed = 0
            settings.captionDropout = 0
            settings.horizontalFlip = false
            let mixed = HeldOut(
                name: nil,
                source: try BatchSource(data: source.data, split: splitName, settings: settings, model: source.model))
            guard source.data.datasets.count > 1 else { return [mixed] }
            var heldOut = [mixed]
            for (name, data) in source.data.alone {
                // Pictures have no part in a model of text alone.
                if source.model.images == .none, try data.datasets[0].split(splitName).documents == 0 { continue }
                heldOut.append(
                    HeldOut(
                        name: name,
                        source: try BatchSource(data: data, split: splitName, settings: settings, model: source.model)))
            }
            return heldOut
        }
    }

    /// - Throws: `SharedFailure` when the model does not fit into the memory of a host.
    /// - Parameter isTrained: Whether there are gradients.
    init(
        _ configuration: RunConfiguration, _ inputs: Inputs, _ resources: TrainingResources, isTrained: Bool = true
    ) throws {
        self.configuration = configuration
        self.resources = resources
        source = inputs.source
        heldOut = inputs.heldOut
        samples = inputs.samples
        dataReport = inputs.report
        if isTrained {
            try resources.group.agree("planning the memory") {
                try Self.checkMemory(configuration, inputs.source, resources)
            }
        }
        let model = try TransfusionModel(
            inputs.source.model, resources.context,
            recomputation: TransfusionModel.Recomputation(configuration.parallel.recompute),
            rules: configuration.optimizer.rules,
            gradients: isTrained ? resources.makeGradients : nil)
        objective = TransfusionObjective(
            model: model, imageLossWeight: configuration.objective.imageLossWeight,
            zLossWeight: configuration.objective.zLossWeight)
        players = [Player("model", model.parameters, configuration)]
    }

    var model: TransfusionModel { objective.model }
    private var seed: UInt64 { UInt64(configuration.seed) }

    var description: [String] {
        let configuration = source.model
        let size = "\(configuration.imageHeight) × \(configuration.imageWidth)"
        let images =
            switch configuration.images {
            case .diffusion:
                "images \(size) × \(configuration.imageChannels) in \(configuration.patchesPerImage) patches"
            case .tokens: "images of \(size) tokens, each of \(configuration.imageCodes)"
            case .none: "no images"
            }
        let frozen = model.parameters.parameters.filter(\.isFrozen).reduce(0) { $0 + $1.globalCount }
        return [
            "model: \(configuration.layers) layers, width \(configuration.width), \(configuration.heads) heads, "
                + "\(model.parameters.globalCount) parameters\(frozen == 0 ? "" : ", \(frozen) of them frozen"); \(images); "
                + "\(configuration.vocabulary) tokens"
        ] + dataReport.lines.map { "data: \($0)" }
    }

    var makeBatch: @Sendable (BatchAddress) throws -> PreparedBatch {
        { [source, seed] address in
            let batch = try source.microBatch(step: address.step, sequences: address.sequences)
            return PreparedBatch(batch, step: address.step, seed: seed)
        }
    }

    func counts(step: Int) throws -> BatchCounts {
        let found = try source.counts(step: step)
        var counts = TransfusionObjective.counts(found, of: source)
        if found.leftOut > 0 {
            counts.warnings.append(
                "\(found.leftOut) pairs found no room in the \(found.blockSteps) steps from step \(step + 1) on "
                    + "and are left out of this epoch")
        }
        return counts
    }

    func losses(_ batch: PreparedBatch, _ counts: BatchCounts, player: Int, _ context: Context) throws -> [NamedSum] {
        try objective.losses(batch, counts, context)
    }

    func heldOutBatches() throws -> [HeldOutBatches<PreparedBatch>] {
        try heldOut.map { heldOut in
            let source = heldOut.source
            return HeldOutBatches(
                source: heldOut.name, sequences: source.settings.globalSequences,
                counts: TransfusionObjective.counts(try source.counts(step: 0), of: source)
            ) { sequences in
                PreparedBatch(measuring: try source.microBatch(step: 0, sequences: sequences))
            }
        }
    }

    var tokenizer: Tokenizer? { source.data.tokenizer }
    var autoencoder: String? { source.data.latents?.autoencoderPath }

    func drawSamples(step: Int, into run: RunDirectory?, _ context: Context) throws -> [TrainingSamples.Sample] {
        try samples.draw(model, context, contextLength: source.settings.sequenceLength, step: step, into: run)
    }
}

extension TransfusionTask {
    var initialWeights: String? { configuration.model.initialWeights }

    func checkInitialWeights(_ path: String, options: CheckpointOptions) throws {
        _ = try openInitialWeights(path, options)
    }

    func begin(from path: String?, options: CheckpointOptions) throws -> String? {
        guard let path else {
            model.parameters.initialize(seed: seed)
            return nil
        }
        let weights = try openInitialWeights(path, options)
        try weights.load(into: model.parameters)
        return weights.report
    }

    private func openInitialWeights(_ path: String, _ options: CheckpointOptions) throws -> InitialWeights {
        try InitialWeights(
            path, for: source.model, tokenizer: source.data.tokens.tokenizer, seed: seed, options: options)
    }
}

extension TransfusionTask {
    func metadata(layout: [String: Int], counters: [String: JSONValue]) throws -> CheckpointMetadata {
        var metadata = try CheckpointMetadata(
            configuration: source.model, contextLength: source.settings.sequenceLength,
            tokenizer: source.data.tokens.tokenizer, data: source.data.digest, layout: layout,
            scalars: counters.merging([Self.packingKey: .number(Double(BatchSource.packingVersion))]) { $1 })
        metadata.autoencoder = source.data.latents?.manifest.autoencoder?.digest
        return metadata
    }

    func check(_ checkpoint: Checkpoint, isOfRun: Bool) throws {
        let saved = try JSONDecoder().decode(
            ModelConfiguration.self, from: JSONEncoder().encode(checkpoint.metadata.model))
        guard saved == source.model else {
            throw CommandFailure(
                "\(checkpoint.path): holds another model than the configuration and its data set describe; "
                    + "compare with 'tf-ckpt inspect'", .wrongUse)
        }
        // A run's own data may not change under it: the order of the samples follows from digests and weights.
        let digest = source.data.digest
        if isOfRun, let data = checkpoint.metadata.data, data != digest {
            throw CommandFailure(
                "\(source.data.path): digest \(digest.prefix(12)) is not the \(data.prefix(12)) that the run "
                    + "was trained on until step \(checkpoint.step): pairs would be seen twice, and others not at all; give "
                    + "\(configuration.data.pathsKey) what it was, or begin a new run with model.initial_weights: \(checkpoint.path)",
                .wrongUse)
        }
        try Self.checkPacking(checkpoint.metadata, path: checkpoint.path, data: digest)
    }

    /// Refuses to go on in another order of the data: pairs would be shown twice, and others not at all.
    static func checkPacking(_ metadata: CheckpointMetadata, path: String, data digest: String) throws {
        guard metadata.data == digest else { return }
        var version = 1.0
        if case .number(let number) = metadata.scalars[packingKey] { version = number }
        guard version != Double(BatchSource.packingVersion) else { return }
        throw CommandFailure(
            "\(path): the run orders its data by version \(version.formatted()) of the rule, this program by version "
                + "\(BatchSource.packingVersion); finish the run with the program that began it, or begin a new one with "
                + "model.initial_weights: \(path)", .wrongUse)
    }

    /// Among the scalars of a checkpoint.
    private static let packingKey = "packing"
}

extension TrainingSetup where Task == TransfusionTask {
    /// - Throws: `SharedFailure` with one line for each problem of the configuration.
    init(_ configuration: RunConfiguration, group: any Communicator, ranksOnHost: Int) throws {
        var inputs: TransfusionTask.Inputs?
        try group.agree("opening the data set") {
            inputs = try TransfusionTask.Inputs(configuration, ranks: group.size)
        }
        guard let inputs else { preconditionFailure("all ranks agreed on a data set that is not there") }
        let resources = try TrainingResources(configuration, group: group, ranksOnHost: ranksOnHost)
        try self.init(configuration, resources, try TransfusionTask(configuration, inputs, resources))
    }
}
