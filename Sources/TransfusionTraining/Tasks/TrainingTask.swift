internal import TransfusionCheckpoint
internal import TransfusionConfig
package import TransfusionCore
internal import TransfusionData
internal import TransfusionInference
package import TransfusionModels

/// What the loop trains.
///
/// The loop knows players, batches by their address, and sums by their name; what they mean is the task's. All ranks make
/// one alike, and call it alike.
package protocol TrainingTask {
    /// All that a forward pass needs and that no weight has touched.
    associatedtype Batch: Sendable

    /// Trained in this order in each step. No two have a parameter of the same name.
    var players: [Player] { get }

    /// Makes the batch of an address, of which it is a pure function: on a thread of its own, while the one before is computed.
    var makeBatch: @Sendable (BatchAddress) throws -> Batch { get }
    /// What the whole global batch of a step holds.
    func counts(step: Int) throws -> BatchCounts
    /// The parts of a player's loss on a batch. While the context records, the backward pass of the weighted total can follow.
    ///
    /// What reaches the parameters of other players is thrown away.
    func losses(_ batch: Batch, _ counts: BatchCounts, player: Int, _ context: Context) throws -> [NamedSum]

    /// Whether a player's losses on a micro-batch depend on the rest of the global batch, which `survey` has to see before.
    func needsSurvey(player: Int, step: Int) -> Bool
    /// Looks at a global batch before a player is trained on its parts. Without effect on any parameter's value.
    /// - Parameters:
    ///   - batches: This rank's micro-batches in order.
    ///   - group: The ranks that have the others, in order.
    func survey(
        _ batches: [Batch], _ counts: BatchCounts, player: Int, group: any Collectives, _ context: Context) throws
    /// What a task does itself to a player that was just updated by its gradient. Called once a step, with all data-parallel ranks.
    /// - Parameter optimizer: The player's.
    /// - Returns: What is known of the step beyond sums over micro-batches.
    func conclude(player: Int, step: Int, optimizer: AdamW, group: any Collectives) throws -> [NamedSum]
    /// What a person should know after a step, a line each. It is the same on all ranks.
    func warnings(after step: StepSummary) -> [String]
}

extension TrainingTask {
    package func needsSurvey(player: Int, step: Int) -> Bool { false }
    package func survey(
        _ batches: [Batch], _ counts: BatchCounts, player: Int, group: any Collectives, _ context: Context
    ) throws {}
    package func conclude(
        player: Int, step: Int, optimizer: AdamW, group: any Collectives
    ) throws -> [NamedSum] { [] }
    package func warnings(after step: StepSummary) -> [String] { [] }
}

/// A task that is trained in a run directory: it begins, is saved, and goes on.
protocol RunTask: TrainingTask {
    /// What a person should know of the task at the start, a line each.
    var description: [String] { get }

    /// The path of weights that the run starts from, when it does not start from its seed.
    var initialWeights: String? { get }
    /// Refuses weights to start from that are not the task's, before anything is made.
    func checkInitialWeights(_ path: String, options: CheckpointOptions) throws
    /// Gives all parameters the values that the run starts with, from the weights at a path or else from the seed.
    /// - Returns: What a person should know of the weights.
    func begin(from path: String?, options: CheckpointOptions) throws -> String?

    /// What a checkpoint says beside its tensors.
    /// - Parameters:
    ///   - layout: How many ranks there are of each kind.
    ///   - counters: How far the run is.
    func metadata(layout: [String: Int], counters: [String: JSONValue]) throws -> CheckpointMetadata
    /// Refuses a checkpoint that the run cannot go on from.
    /// - Parameter isOfRun: Whether it is one of the run's own.
    func check(_ checkpoint: Checkpoint, isOfRun: Bool) throws

    /// What `evaluation.every_steps` measures, that which stands for all of the data first; none when the configuration wants
    /// nothing measured.
    func heldOutBatches() throws -> [HeldOutBatches<Batch>]

    /// What a rank holds in memory once it has done a step and a checkpoint; nil when that is not known.
    /// - Parameters:
    ///   - programBytes: What the program itself takes.
    ///   - ownedElements: Whose optimizer state the rank keeps.
    func memoryPlan(programBytes: Int, ownedElements: Int) throws -> MemoryPlan?

    /// The tokenizer that the run directory keeps, so that the run can be used without its data.
    var tokenizer: Tokenizer? { get }
    /// The autoencoder whose copy the run directory keeps for the same reason; nil in a run that needs none.
    var autoencoder: String? { get }
    /// Shows what the players can do by now. Called on the ranks that hold one copy of the model together.
    /// - Parameter run: Where the pictures go; nil on a rank that only lends its part.
    func drawSamples(step: Int, into run: RunDirectory?, _ context: Context) throws -> [TrainingSamples.Sample]
}

extension RunTask {
    var description: [String] { [] }

    /// What its checkpoints say of their model, for a task that has no description of one.
    private var name: JSONValue { .string("\(Self.self)") }

    func begin(from path: String?, options: CheckpointOptions) throws -> String? {
        for player in players { player.parameters.initialize(seed: 0) }
        return nil
    }

    func metadata(layout: [String: Int], counters: [String: JSONValue]) throws -> CheckpointMetadata {
        CheckpointMetadata(model: name, layout: layout, scalars: counters)
    }

    func check(_ checkpoint: Checkpoint, isOfRun: Bool) throws {
        guard checkpoint.metadata.model == name else {
            throw CommandFailure("\(checkpoint.path): is a checkpoint of another task than \(Self.self)", .wrongUse)
        }
    }

    var initialWeights: String? { nil }
    func checkInitialWeights(_ path: String, options: CheckpointOptions) throws {}
    func heldOutBatches() throws -> [HeldOutBatches<Batch>] { [] }
    func memoryPlan(programBytes: Int, ownedElements: Int) throws -> MemoryPlan? { nil }
    var tokenizer: Tokenizer? { nil }
    var autoencoder: String? { nil }
    func drawSamples(step: Int, into run: RunDirectory?, _ context: Context) throws -> [TrainingSamples.Sample] { [] }
}
