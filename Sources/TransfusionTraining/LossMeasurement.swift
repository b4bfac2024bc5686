internal import TransfusionCheckpoint
internal import TransfusionConfig
internal import TransfusionCore
internal import TransfusionData
internal import TransfusionModels
public import TransfusionParallel

/// The losses that `evaluation: {every_steps, sequences}` records while a run trains, of weights that are there already: all
/// of `tf-eval loss`.
///
/// It is the run's own measurement, on the same sequences with the same noise: the numbers are those of training.
public struct LossMeasurement: Sendable {
    /// What `ModelArchive` opens.
    public var checkpoint: String
    /// A configuration file; nil takes that of the run that the checkpoint is of.
    public var configuration: String?
    /// Keys of the configuration with other values, as in `data.path=other`.
    public var overrides: [String] = []
    /// Of the data sets.
    public var split = "validation"
    /// How many sequences are measured; nil takes `evaluation.sequences`.
    public var sequences: Int?

    public init(checkpoint: String) {
        self.checkpoint = checkpoint
    }

    /// The losses, each a mean over what it is measured on.
    public struct Report: Encodable, Sendable, Equatable {
        /// The weighted sum of the parts.
        public let loss: Double
        /// By name, as in `validation_loss_NAME` of metrics.jsonl: those of a mixture, and `PART/SOURCE` of each of its data sets.
        public let losses: [String: Double]
        /// What each part is the mean of: predicted tokens, images.
        public let counts: [String: Int]
        /// Of the mixture, and as many of each of its data sets.
        public let sequences: Int
        public let split: String
        public let model: String
        public let step: Int?
        /// What matrices were computed in.
        public let precision: String
    }

    /// All ranks of the group call it.
    /// - Throws: `SharedFailure` with a line that names the option, the key or the file.
    public func run(
        _ group: any Communicator, ranksOnHost: Int, warn: (String) -> Void = { _ in }
    ) throws -> Report {
        var opened: (archive: ModelArchive, configuration: RunConfiguration, inputs: TransfusionTask.Inputs)?
        try group.agree("opening model and data") {
            let archive = try ModelArchive(checkpoint) { skipped in
                if group.rank == 0 { warn(skipped.description) }
            }
            let configuration = try configuration(for: archive)
            let inputs = try TransfusionTask.Inputs(measuring: configuration, split: split)
            guard archive.configuration == inputs.source.model else {
                throw CommandFailure(
                    "\(archive.path): holds another model than \(self.configuration ?? "its run's configuration") and its data "
                        + "set describe; compare with 'tf-ckpt inspect'", .wrongUse)
            }
            opened = (archive, configuration, inputs)
        }
        guard let (archive, configuration, inputs) = opened else {
            preconditionFailure("all ranks agreed on a model that is not there")
        }
        let resources = try TrainingResources(configuration, group: group, ranksOnHost: ranksOnHost)
        let task = try TransfusionTask(configuration, inputs, resources, isTrained: false)
        try group.agree("loading the model") { try archive.load(into: task.model.parameters) }
        let batches = try task.heldOutBatches()
        precondition(!batches.isEmpty, "no sequences to measure on")
        let validation = Validation(task, batches, resources, microSequences: configuration.batch.microSequences)
        var line = ProgressLine("loss", total: group.rank == 0 ? validation.sequences : 0)
        let parts = try validation.measure { if group.rank == 0 { line.update($0) } }
        line.clear()
        guard parts.loss.isFinite else {
            throw SharedFailure(
                failure: CommandFailure("\(archive.path): its losses are not finite; its weights are damaged"))
        }
        return Report(
            loss: parts.loss, losses: parts.means,
            counts: Dictionary(uniqueKeysWithValues: parts.map { ($0.name, $0.count) }),
            sequences: batches[0].sequences, split: split, model: archive.path, step: archive.step,
            precision: resources.context.type.rawValue)
    }

    /// That of the run, for ranks of any number that share nothing but the work.
    private func configuration(for archive: ModelArchive) throws -> RunConfiguration {
        guard let file = configuration ?? archive.runDirectory.map({ RunDirectory($0).configuration }) else {
            throw CommandFailure(
                "\(archive.path): is not of a run, whose configuration would name data and batches; give a configuration",
                .wrongUse)
        }
        // How the run shared out its work does not matter here; what a person asks for does.
        var configuration = try RunConfiguration.loadWithInitialWeights(
            file, overrides: ["parallel.data=auto", "parallel.tensor=1"] + overrides)
        guard configuration.task == .transfusion else {
            throw CommandFailure(
                "\(file): task: \(configuration.task.rawValue) has no losses on held-out data", .wrongUse)
        }
        if let sequences {
            guard (1...65536).contains(sequences) else {
                throw SettingError("sequences", "must lie between 1 and 65536, not \(sequences)")
            }
            configuration.evaluation.sequences = sequences
        }
        return configuration
    }
}
