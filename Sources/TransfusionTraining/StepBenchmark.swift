internal import Foundation
public import TransfusionCore
internal import TransfusionParallel
internal import TransfusionTelemetry

/// Measures training steps on made-up data: rows of random tokens with images in between, as many as asked for.
public final class StepBenchmark {
    /// What is measured.
    public struct Settings: Sendable {
        public var preset = ModelPreset.size0_16B
        public var sequenceLength = 1024
        public var images = 2
        public var patchesPerImage = 256
        public var vocabulary = 32002
        /// Micro-batches of one sequence in each step.
        public var microBatches = 4
        public var type = ElementType.bf16
        public var threads: Int?
        public var recomputation = TransfusionModel.Recomputation.none

        public init() {}
    }

    /// What was measured.
    public struct Result: Sendable, Codable {
        public var model: String
        public var parameters: Int
        public var type: String
        public var threads: Int
        public var tokensPerStep: Int
        /// Median over the steps.
        public var secondsPerStep: Double
        public var tokensPerSecond: Double
        /// Floating-point operations of the model per second.
        public var operationsPerSecond: Double
        /// The rate of large matrix products, measured before the steps.
        public var peakOperationsPerSecond: Double
        public var utilization: Double
        /// Seconds of the median step by part.
        public var parts: [String: Double]
        public var weightBytes: Int
        public var gradientBytes: Int
        public var optimizerBytes: Int
        /// The most that tensors took beyond weights, gradients and optimizer state.
        public var activationBytes: Int
        public var peakResidentBytes: Int
    }

    private let settings: Settings
    private let context: Context
    private let model: TransfusionModel
    private let optimizer: ShardedAdamW
    private let layout: RowLayout
    private let batch: (latents: [Float], noise: [Float], timesteps: [Int32])
    private let peakRate: Double
    private var stepsDone = 0

    /// - Throws: `RowLayoutError` when the images do not fit into the sequence.
    public init(_ settings: Settings) throws {
        self.settings = settings
        let sizes = settings.preset.sizes
        let side = Int(Double(settings.patchesPerImage).squareRoot().rounded())
        let vocabulary = Int32(settings.vocabulary)
        let configuration = ModelConfiguration(
            layers: sizes.layers, width: sizes.width, heads: sizes.heads, feedForward: sizes.feedForward,
            vocabulary: settings.vocabulary, patchSize: 2, imageChannels: 8, imageHeight: 2 * side,
            imageWidth: 2 * settings.patchesPerImage / side, beginOfText: 1, endOfText: 2,
            beginOfImage: vocabulary - 2, endOfImage: vocabulary - 1)
        context = Context(pool: ThreadPool(threads: settings.threads), type: settings.type)
        peakRate = context.measuredPeakRate()
        let allocator = context.allocator
        model = TransfusionModel(configuration, context, recomputation: settings.recomputation) {
            Tensor([$0], .f32, allocator: allocator)
        }
        model.parameters.initialize(seed: 0)
        optimizer = ShardedAdamW(
            model.parameters, group: SingleRank(), settings: AdamW.Settings(), pool: context.pool,
            allocator: allocator)
        layout = try Self.layout(settings, configuration)
        let count = settings.images * Patches(configuration).imageCount
        batch = (
            Self.normal(count, .packing), Self.normal(count, .noise),
            (0..<settings.images).map { Int32(($0 * 377 + 100) % 1000) }
        )
    }

    /// Runs steps until `steps` of them are measured after `warmup` that are not.
    ///
    /// - Parameter between: Called before each measured step, for a baseline that is measured in turn.
    public func run(steps: Int, warmup: Int, between: () throws -> Void = {}) throws -> Result {
        for _ in 0..<warmup { try step(PhaseTimer()) }
        context.allocator.resetPeak()
        var measured: [(seconds: Double, parts: [Phase: Double])] = []
        for _ in 0..<steps {
            try between()
            let timer = PhaseTimer()
            let start = ContinuousClock.now
            try step(timer)
            measured.append(((.now - start) / .seconds(1), timer.takeSeconds()))
        }
        measured.sort { $0.seconds < $1.seconds }
        let median = measured[measured.count / 2]
        let operations = FloatingPointWork(model.configuration).operations(layout) * Double(settings.microBatches)
        let tokens = layout.count * settings.microBatches
        let store = model.parameters
        let weights = store.matrices.byteCount + store.vectors.byteCount, gradients = store.gradients?.byteCount ?? 0
        let state = optimizer.optimizer.byteCount
        return Result(
            model: settings.preset.rawValue, parameters: store.globalCount, type: settings.type.rawValue,
            threads: context.pool.threadCount, tokensPerStep: tokens, secondsPerStep: median.seconds,
            tokensPerSecond: Double(tokens) / median.seconds, operationsPerSecond: operations / median.seconds,
            peakOperationsPerSecond: peakRate, utilization: operations / median.seconds / peakRate,
            parts: Dictionary(uniqueKeysWithValues: median.parts.map { ($0.key.rawValue, $0.value) }),
            weightBytes: weights, gradientBytes: gradients, optimizerBytes: state,
            activationBytes: max(0, context.allocator.peakBytes - weights - gradients - state),
            peakResidentBytes: ProcessMemory.peakBytes)
    }

    private func step(_ timer: PhaseTimer) throws {
        timer.begin(step: stepsDone)
        let weights = TransfusionModel.LossWeights(
            targets: layout.targetCount * settings.microBatches, images: layout.imageCount * settings.microBatches,
            imageLossWeight: 5)
        for _ in 0..<settings.microBatches {
            let images =
                layout.imageCount == 0
                ? nil
                : NoisedImages(
                    latents: batch.latents, noise: batch.noise, timesteps: batch.timesteps, schedule: NoiseSchedule(),
                    configuration: model.configuration, context)
            _ = try context.record { try model.losses(layout, images: images, weights: weights, context) }
            try context.backward()
        }
        let norm = try optimizer.reduceGradients()
        try optimizer.update(step: stepsDone, learningRate: 1e-4, norm: norm, clipNorm: 1)
        stepsDone += 1
    }

    private static func normal(_ count: Int, _ purpose: Philox.Purpose) -> [Float] {
        [Float](unsafeUninitializedCapacity: count) { buffer, initialized in
            Philox(seed: 0, purpose: purpose).fillNormal(UnsafeMutableBufferPointer(rebasing: buffer[..<count]))
            initialized = count
        }
    }

    /// Text with images evenly between it, all one document.
    private static func layout(_ settings: Settings, _ model: ModelConfiguration) throws -> RowLayout {
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
