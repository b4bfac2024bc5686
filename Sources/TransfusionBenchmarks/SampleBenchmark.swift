internal import TransfusionConfig
public import TransfusionCore
internal import TransfusionInference
public import TransfusionModels

/// Measures sampling on a model with random weights: writing text for one sequence, and denoising one image with
/// guidance, both as `Generator` does it.
public final class SampleBenchmark {
    /// What is measured.
    public struct Settings: Sendable {
        public var preset = ModelPreset.size0_16B
        public var patchesPerImage = 256
        public var vocabulary = 32002
        /// Tokens of the prompt, before text and before the image.
        public var prompt = 64
        /// Tokens written in a round.
        public var tokens = 64
        /// Denoising steps of a round.
        public var steps = 5
        public var type = ElementType.bf16
        /// Every processor that this process may use unless given.
        public var threads: Int?

        public init() {}
    }

    /// What was measured. Rates are medians over the rounds.
    public struct Result: Sendable, Codable {
        public var model: String
        public var parameters: Int
        public var type: String
        public var threads: Int
        public var textTokensPerSecond: Double
        /// Every weight that a token meets, once; keys and values do not count.
        public var weightBytesPerToken: Int
        /// What all threads read of memory at best.
        public var readBytesPerSecond: Double
        /// The weights' part of that.
        public var textBandwidthShare: Double
        /// Both branches of guidance.
        public var secondsPerDenoisingStep: Double
        public var denoisingOperationsPerSecond: Double
        /// The rate of large matrix products.
        public var peakOperationsPerSecond: Double
        public var denoisingUtilization: Double
    }

    private let settings: Settings
    private let context: Context
    private let model: TransfusionModel
    private let generator: Generator
    private let prompt: [Int32]

    public init(_ settings: Settings) {
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
        model = TransfusionModel(configuration, context)
        model.parameters.initialize(seed: 0)
        // A row of zeros is never the likeliest token: the text does not end before it has been measured.
        model.parameters["lm_head.weight"]!.value.view(
            at: Int(configuration.endOfText) * configuration.width, [configuration.width]
        ).fill(0)
        model.pack(context)
        let random = Philox(seed: 0, purpose: .packing)
        prompt = (0..<settings.prompt).map { Int32(3 + random.integer(below: settings.vocabulary - 5, at: $0)) }
        generator = Generator(
            model, context,
            contextLength: 2 + settings.prompt + max(settings.tokens + 1, settings.patchesPerImage))
    }

    /// Runs rounds until `rounds` of them are measured after one that is not.
    ///
    /// - Parameter between: Called before each measured round, for a baseline that is measured in turn.
    public func run(rounds: Int, between: () throws -> Void = {}) throws -> Result {
        _ = (try token(), try denoisingStep())
        var peakRates: [Double] = [], readRates: [Double] = [], tokens: [Double] = [], steps: [Double] = []
        var operations = 0.0
        for _ in 0..<rounds {
            try between()
            // In each round, because machines that others use too are not always as fast.
            peakRates.append(context.measuredPeakRate())
            readRates.append(context.measuredReadBandwidth())
            // The buffer of that measurement would stay beside the model.
            context.allocator.trim()
            tokens.append(try token().seconds)
            let step = try denoisingStep()
            steps.append(step.seconds)
            operations = step.operations
        }
        let bytes = weightBytesPerToken, peakRate = median(peakRates), readRate = median(readRates)
        let rate = operations / median(steps)
        return Result(
            model: settings.preset.rawValue, parameters: model.parameters.globalCount, type: settings.type.rawValue,
            threads: context.pool.threadCount, textTokensPerSecond: 1 / median(tokens), weightBytesPerToken: bytes,
            readBytesPerSecond: readRate, textBandwidthShare: Double(bytes) / median(tokens) / readRate,
            secondsPerDenoisingStep: median(steps), denoisingOperationsPerSecond: rate,
            peakOperationsPerSecond: peakRate, denoisingUtilization: rate / peakRate)
    }

    /// What one of many equal parts of some work takes.
    private struct Part {
        let seconds: Double
        let operations: Double
    }

    private func token() throws -> Part {
        var continuation = Generator.Continuation()
        continuation.text.maximumTokens = settings.tokens + 1
        return try part { progress in
            _ = try generator.continuation(of: [.text(prompt)], continuation, seed: 0, progress: progress)
        }
    }

    private func denoisingStep() throws -> Part {
        var image = ImageSettings()
        image.steps = settings.steps + 1
        return try part { progress in
            _ = try generator.images(for: [prompt], seeds: [Generator.ImageSeed(0)], image, progress: progress)
        }
    }

    /// The mean of the parts after the first, which waits for the prompt.
    private func part(of work: ((Int) -> Void) throws -> Void) rethrows -> Part {
        var ends: [(time: ContinuousClock.Instant, operations: Double)] = []
        try work { _ in ends.append((.now, context.work.operations)) }
        let first = ends[0], last = ends[ends.count - 1], count = Double(ends.count - 1)
        return Part(
            seconds: (last.time - first.time) / .seconds(1) / count,
            operations: (last.operations - first.operations) / count)
    }

    /// All weights but those of images, and of the embedding one row.
    private var weightBytesPerToken: Int {
        model.parameters.parameters.reduce(0) { sum, parameter in
            if parameter.name.hasPrefix("patch_") { return sum }
            let bytes = parameter.value.byteCount
            return sum + (parameter.name == "model.embed_tokens.weight" ? bytes / settings.vocabulary : bytes)
        }
    }
}
