internal import Foundation
public import TransfusionCore
public import TransfusionModels
public import TransfusionParallel
internal import TransfusionTelemetry

/// Measures training steps on made-up data: rows of random tokens with images in between, as many as asked for.
public final class StepBenchmark {
    /// What is measured.
    public struct Settings: Sendable {
        /// What the model is called in the result.
        public var name = ModelPreset.size0_16B.rawValue
        public var sizes = ModelPreset.size0_16B.sizes
        public var sequenceLength = 1024
        public var images = 2
        public var patchesPerImage = 256
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
            return ModelConfiguration(
                layers: sizes.layers, width: sizes.width, heads: sizes.heads, feedForward: sizes.feedForward,
                vocabulary: vocabulary, patchSize: 2, imageChannels: 8, imageHeight: 2 * side,
                imageWidth: 2 * patchesPerImage / side, beginOfText: 1, endOfText: 2, beginOfImage: markers,
                endOfImage: markers + 1)
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
    }

    private let settings: Settings
    private let mesh: ProcessMesh
    let context: Context
    let state: TrainingState
    let layout: RowLayout
    /// What weights and optimizer state take of the allocator.
    private let stateBytes: Int
    private let batch: (latents: [Float], noise: [Float], timesteps: [Int32])
    private let use: JobProcessorUse

    /// - Parameter group: All ranks; each makes one.
    /// - Throws: `RowLayoutError` when the images do not fit into the sequence, `MeshError` when the ranks cannot be
    ///   arranged as asked.
    public init(_ settings: Settings, group: any Communicator) throws {
        self.settings = settings
        let configuration = settings.model
        layout = try Self.layout(settings, configuration)
        mesh = try ProcessMesh(group, tensor: settings.tensor)
        let ranksOnHost = group.hosts.count { $0 == group.hosts[group.rank] }
        context = Context(
            pool: ThreadPool(threads: settings.threads ?? max(1, CPUReport().cpuCount / ranksOnHost)),
            type: settings.type, tensorParallel: mesh.tensor, sequenceParallel: settings.sequenceParallel)
        use = try JobProcessorUse(group)
        state = try TrainingState(
            configuration, context, mesh, recomputation: settings.recomputation, settings: AdamW.Settings(),
            order: settings.order)
        stateBytes = context.allocator.liveBytes
        state.model.parameters.initialize(seed: 0)
        let count = settings.images * Patches(configuration).imageCount
        batch = (
            Self.normal(count, .packing), Self.normal(count, .noise),
            (0..<settings.images).map { Int32(($0 * 377 + 100) % 1000) }
        )
    }

    /// Runs steps until `steps` of them are measured after `warmup` that are not. All ranks call it.
    ///
    /// - Parameter between: Called before each measured step, for a baseline that is measured in turn.
    public func run(steps: Int, warmup: Int, between: () throws -> Void = {}) throws -> Result {
        for _ in 0..<warmup { try step(PhaseTimer()) }
        context.allocator.resetPeak()
        var measured: [MeasuredStep] = []
        _ = try use.take()
        var operations = 0.0
        for _ in 0..<steps {
            try between()
            // In each round, because machines that others use too are not always as fast.
            try mesh.world.barrier(site: "peak rate")
            let peakRate = try mesh.world.sum([context.measuredPeakRate()], site: "peak rate")[0]
            try mesh.world.barrier(site: "begin of step")
            let timer = PhaseTimer()
            let before = context.kernelSeconds, workBefore = context.work
            let start = ContinuousClock.now
            try step(timer)
            try mesh.world.barrier(site: "end of step")
            let seconds = (.now - start) / .seconds(1), after = context.kernelSeconds
            operations = (context.work.operations - workBefore.operations) * Double(mesh.shape.data)
            measured.append(
                MeasuredStep(
                    seconds: seconds, peakRate: peakRate, parts: timer.takeSeconds(),
                    products: after.products - before.products, attention: after.attention - before.attention))
        }
        return result(measured, operations: operations, othersShare: try use.take().othersShare)
    }

    private struct MeasuredStep {
        let seconds: Double
        let peakRate: Double
        let parts: [Phase: Double]
        let products: Double
        let attention: Double
    }

    private func result(_ measured: [MeasuredStep], operations: Double, othersShare: Double?) -> Result {
        func median(_ value: (MeasuredStep) -> Double) -> Double { measured.map(value).sorted()[measured.count / 2] }
        let typical = measured.sorted { $0.seconds < $1.seconds }[measured.count / 2]
        let sequences = settings.microBatches * mesh.shape.data
        let tokens = layout.count * sequences
        let store = state.model.parameters
        let weights = store.matrices.byteCount + store.vectors.byteCount, gradients = store.gradients?.byteCount ?? 0
        let optimizer = state.optimizer.byteCount
        // The gradients are not the allocator's.
        return Result(
            model: settings.name, parameters: store.globalCount, type: settings.type.rawValue,
            layout: "\(mesh.shape)", threads: context.pool.threadCount, tokensPerStep: tokens,
            secondsPerStep: typical.seconds, tokensPerSecond: Double(tokens) / typical.seconds,
            operationsPerSecond: operations / typical.seconds, peakOperationsPerSecond: median(\.peakRate),
            utilization: median { operations / $0.seconds / $0.peakRate }, othersShare: othersShare,
            parts: Dictionary(uniqueKeysWithValues: typical.parts.map { ($0.key.rawValue, $0.value) }),
            leastParts: measured.reduce(into: [:]) { least, step in
                for (phase, seconds) in step.parts {
                    least[phase.rawValue] = min(seconds, least[phase.rawValue] ?? seconds)
                }
            },
            productSeconds: typical.products, attentionSeconds: typical.attention,
            weightBytes: weights, gradientBytes: gradients, optimizerBytes: optimizer,
            activationBytes: context.allocator.peakBytes - stateBytes,
            peakResidentBytes: ProcessMemory.peakBytes, sharedBytesOfOthers: ProcessMemory.sharedBytesOfOthers)
    }

    private func step(_ timer: PhaseTimer) throws {
        timer.begin(step: state.step)
        let sequences = settings.microBatches * mesh.shape.data
        let weights = TransfusionModel.LossWeights(
            targets: layout.targetCount * sequences, images: layout.imageCount * sequences, imageLossWeight: 5)
        for slot in 0..<settings.microBatches {
            let images =
                layout.imageCount == 0
                ? nil
                : NoisedImages(
                    latents: batch.latents, noise: batch.noise, timesteps: batch.timesteps, schedule: NoiseSchedule(),
                    configuration: state.model.configuration, context)
            _ = try context.record { try state.model.losses(layout, images: images, weights: weights, context) }
            try state.optimizer.backward(context, slot: slot, of: settings.microBatches)
        }
        try timer.measure(.wait) { try mesh.world.barrier(site: "end of backward") }
        let norm = try timer.measure(.communication) { try state.optimizer.reduceGradients() }
        try timer.measure(.communication) {
            try state.optimizer.update(step: state.step, learningRate: 1e-4, norm: norm, clipNorm: 1)
        }
        state.step += 1
    }

    private static func normal(_ count: Int, _ purpose: Philox.Purpose) -> [Float] {
        [Float](unsafeUninitializedCapacity: count) { buffer, initialized in
            Philox(seed: 0, purpose: purpose).fillNormal(UnsafeMutableBufferPointer(rebasing: buffer[..<count]))
            initialized = count
        }
    }

    /// Text with images evenly between it, all one document.
    static func layout(_ settings: Settings, _ model: ModelConfiguration) throws -> RowLayout {
        let random = Philox(seed: 0, purpose: .packing, index: 1)
        var tokens = (0..<settings.sequenceLength).map {
            Int32(3 + random.integer(below: settings.vocabulary - 5, at: $0))
        }
        let text = settings.sequenceLength - settings.images * settings.patchesPerImage
        let gap = max(0, text) / (settings.images + 1)
        let starts = (0..<settings.images).map { Int32(gap + $0 * (gap + settings.patchesPerImage)) }
        for start in starts where Int(start) + settings.patchesPerImage <= tokens.count {
            for row in Int(start)..<Int(start) + settings.patchesPerImage { tokens[row] = -1 }
        }
        return try RowLayout(
            tokens: tokens, documentStarts: [0], imageStarts: starts, patchesPerImage: settings.patchesPerImage,
            beginOfImage: model.beginOfImage, endOfImage: model.endOfImage)
    }
}
