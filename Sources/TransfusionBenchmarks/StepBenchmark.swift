internal import Foundation
public import TransfusionConfig
public import TransfusionCore
public import TransfusionModels
public import TransfusionParallel
internal import TransfusionTelemetry
internal import TransfusionTraining

/// Measures training steps: on made-up data, rows of random tokens with images in between, or as a run's configuration has them.
public final class StepBenchmark {
    /// What is measured.
    public struct Settings: Sendable {
        /// What the model is called in the result.
        public var name = ModelPreset.size0_16B.rawValue
        public var sizes = ModelPreset.size0_16B.sizes
        public var sequenceLength = 1024
        public var images = 2
        public var patchesPerImage = 256
        public var patchCoder = ModelConfiguration.PatchCoder.linear
        public var vocabulary = 32002
        /// Micro-batches of one sequence that each data-parallel rank computes in a step.
        public var microBatches = 4
        /// Ranks that share a model; the others are data-parallel.
        public var tensor = 1
        public var sequenceParallel = false
        public var order = ReductionOrder.fast
        public var type = ElementType.bf16
        /// Of each rank; the host's processors divided by its ranks unless given.
        public var threads: Int?
        public var recomputation = TransfusionModel.Recomputation.none

        public init() {}

        /// The model that is trained.
        public var model: ModelConfiguration {
            let side = Int(Double(patchesPerImage).squareRoot().rounded()), markers = Int32(vocabulary - 2)
            var model = ModelConfiguration(
                layers: sizes.layers, width: sizes.width, heads: sizes.heads, feedForward: sizes.feedForward,
                vocabulary: vocabulary, patchSize: 2, imageChannels: 8, imageHeight: 2 * side,
                imageWidth: 2 * patchesPerImage / side, beginOfText: 1, endOfText: 2, beginOfImage: markers,
                endOfImage: markers + 1)
            model.patchCoder = patchCoder
            return model
        }
    }

    /// What was measured.
    public struct Result: Sendable, Codable {
        public var model: String
        public var parameters: Int
        public var type: String
        /// As in "data 2 × tensor 1".
        public var layout: String
        /// Of each rank.
        public var threads: Int
        public var tokensPerStep: Int
        public var imagesPerStep: Int
        /// Median over the steps.
        public var secondsPerStep: Double
        public var tokensPerSecond: Double
        /// Floating-point operations of the model per second.
        public var operationsPerSecond: Double
        /// The rate of large matrix products, measured before each step; the median.
        public var peakOperationsPerSecond: Double
        /// The median of each step's share of the rate that was measured just before it.
        public var utilization: Double
        /// The share of the processors that others took during the measurement; nil where the kernel does not say.
        public var othersShare: Double?
        /// Seconds of the median step by part, on rank 0.
        public var parts: [String: Double]
        /// The least seconds of each part in any step: what the rest of the machine disturbed least.
        public var leastParts: [String: Double]
        /// Seconds of the median step in matrix products, and in attention; the rest is all other work.
        public var productSeconds: Double
        public var attentionSeconds: Double
        // Of rank 0.
        public var weightBytes: Int
        public var gradientBytes: Int
        public var optimizerBytes: Int
        /// The most that tensors took beyond weights, gradients and optimizer state.
        public var activationBytes: Int
        public var peakResidentBytes: Int
        /// Those of them in memory that ranks share, as far as they count as other ranks'.
        public var sharedBytesOfOthers: Int

        public var imagesPerSecond: Double { Double(imagesPerStep) / secondsPerStep }
    }

    private let name: String
    private let mesh: ProcessMesh
    private let context: Context
    private let state: TrainingState
    private let train: () throws -> StepSummary
    private let timer: PhaseTimer
    /// What weights and optimizer state take of the allocator.
    private let stateBytes: Int
    private let use: JobProcessorUse

    /// - Parameter group: All ranks; each makes one.
    /// - Throws: `RowLayoutError` when the images do not fit into the sequence, `MeshError` when the ranks cannot be
    ///   arranged as asked.
    public convenience init(_ settings: Settings, group: any Communicator) throws {
        let mesh = try ProcessMesh(group, tensor: settings.tensor), ranksOnHost = group.ranksOnOwnHost
        let context = Context(
            pool: ThreadPool(threads: settings.threads ?? max(1, CPUReport().cpuCount / ranksOnHost)),
            type: settings.type, tensorParallel: mesh.tensor, sequenceParallel: settings.sequenceParallel)
        let resources = TrainingResources(mesh: mesh, context: context, ranksOnHost: ranksOnHost)
        let task = try RandomRowsTask(settings, resources), timer = PhaseTimer()
        let state = TrainingState(task.players, resources, order: settings.order)
        let steps = StepTrainer(
            task, resources, state,
            batch: .init(globalSequences: settings.microBatches * mesh.shape.data, microSequences: 1), timer: timer)
        try self.init(settings.name, resources, state, steps.train, timer)
    }

    /// Measures what a run would do, on its own data.
    ///
    /// - Parameters:
    ///   - name: What the run is called in the result.
    ///   - group: All ranks; each makes one.
    /// - Throws: `SharedFailure` with one line for each problem of the configuration.
    public convenience init(_ configuration: RunConfiguration, name: String, group: any Communicator) throws {
        let timer = PhaseTimer()
        let run = try RunSteps(configuration, group: group, ranksOnHost: group.ranksOnOwnHost, timer: timer)
        try self.init(name, run.resources, run.state, run.train, timer)
    }

    private init(
        _ name: String, _ resources: TrainingResources, _ state: TrainingState,
        _ train: @escaping () throws -> StepSummary, _ timer: PhaseTimer
    ) throws {
        self.name = name
        mesh = resources.mesh
        context = resources.context
        self.state = state
        self.train = train
        self.timer = timer
        stateBytes = context.allocator.liveBytes
        use = try JobProcessorUse(mesh.world)
    }

    /// Runs steps until `steps` of them are measured after `warmup` that are not. All ranks call it.
    ///
    /// - Parameter between: Called before each measured step, for a baseline that is measured in turn.
    public func run(steps: Int, warmup: Int, between: () throws -> Void = {}) throws -> Result {
        for _ in 0..<warmup { _ = try step() }
        context.allocator.resetPeak()
        var measured: [MeasuredStep] = []
        _ = try use.take()
        for _ in 0..<steps {
            try between()
            // In each round, because machines that others use too are not always as fast.
            try mesh.world.barrier(site: "peak rate")
            let peakRate = try mesh.world.sum([context.measuredPeakRate()], site: "peak rate")[0]
            try mesh.world.barrier(site: "begin of step")
            _ = timer.takeSeconds()
            let before = context.kernelSeconds
            let start = ContinuousClock.now
            let summary = try step()
            try mesh.world.barrier(site: "end of step")
            let seconds = (.now - start) / .seconds(1), after = context.kernelSeconds
            measured.append(
                MeasuredStep(
                    summary: summary, seconds: seconds, peakRate: peakRate, parts: timer.takeSeconds(),
                    products: after.products - before.products, attention: after.attention - before.attention))
        }
        return result(measured, othersShare: try use.take().othersShare)
    }

    private struct MeasuredStep {
        let summary: StepSummary
        let seconds: Double
        let peakRate: Double
        let parts: [Phase: Double]
        let products: Double
        let attention: Double

        var operationsPerSecond: Double { summary.operations / seconds }
    }

    private func result(_ measured: [MeasuredStep], othersShare: Double?) -> Result {
        func median(_ value: (MeasuredStep) -> Double) -> Double { measured.map(value).sorted()[measured.count / 2] }
        let typical = measured.sorted { $0.seconds < $1.seconds }[measured.count / 2]
        let tokens = typical.summary.counts.tokens
        // The gradients are not the allocator's.
        return Result(
            model: name, parameters: state.parameterCount, type: context.type.rawValue,
            layout: "\(mesh.shape)", threads: context.pool.threadCount, tokensPerStep: tokens,
            imagesPerStep: typical.summary.counts.images,
            secondsPerStep: typical.seconds, tokensPerSecond: Double(tokens) / typical.seconds,
            operationsPerSecond: typical.operationsPerSecond, peakOperationsPerSecond: median(\.peakRate),
            utilization: median { $0.operationsPerSecond / $0.peakRate }, othersShare: othersShare,
            parts: Dictionary(uniqueKeysWithValues: typical.parts.map { ($0.key.rawValue, $0.value) }),
            leastParts: measured.reduce(into: [:]) { least, step in
                for (phase, seconds) in step.parts {
                    least[phase.rawValue] = min(seconds, least[phase.rawValue] ?? seconds)
                }
            },
            productSeconds: typical.products, attentionSeconds: typical.attention,
            weightBytes: state.weightBytes, gradientBytes: state.gradientBytes, optimizerBytes: state.optimizerBytes,
            activationBytes: context.allocator.peakBytes - stateBytes,
            peakResidentBytes: ProcessMemory.peakBytes, sharedBytesOfOthers: ProcessMemory.sharedBytesOfOthers)
    }

    private func step() throws -> StepSummary {
        timer.begin(step: state.step)
        return try train()
    }
}
