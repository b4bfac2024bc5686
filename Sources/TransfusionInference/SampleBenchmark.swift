internal import TransfusionConfig
public import TransfusionCore

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
        _ = (try secondsPerToken(), try secondsPerStep())
        var peakRates: [Double] = [], readRates: [Double] = [], token: [Double] = [], step: [Double] = []
        for _ in 0..<rounds {
            try between()
            // In each round, because machines that others use too are not always as fast.
            peakRates.append(context.measuredPeakRate())
            readRates.append(context.measuredReadBandwidth())
            // The buffer of that measurement would stay beside the model.
            context.allocator.trim()
            token.append(try secondsPerToken())
            step.append(try secondsPerStep())
        }
        let median = { (values: [Double]) in values.sorted()[values.count / 2] }
        let bytes = weightBytesPerToken, peakRate = median(peakRates), readRate = median(readRates)
        let rate = operationsPerStep / median(step)
        return Result(
            model: settings.preset.rawValue, parameters: model.parameters.globalCount, type: settings.type.rawValue,
            threads: context.pool.threadCount, textTokensPerSecond: 1 / median(token), weightBytesPerToken: bytes,
            readBytesPerSecond: readRate, textBandwidthShare: Double(bytes) / median(token) / readRate,
            secondsPerDenoisingStep: median(step), denoisingOperationsPerSecond: rate,
            peakOperationsPerSecond: peakRate, denoisingUtilization: rate / peakRate)
    }

    private func secondsPerToken() throws -> Double {
        var continuation = Generator.Continuation()
        continuation.text.maximumTokens = settings.tokens + 1
        return try secondsPerPart { progress in
            _ = try generator.continuation(of: [.text(prompt)], continuation, seed: 0, progress: progress)
        }
    }

    private func secondsPerStep() throws -> Double {
        var image = ImageSettings()
        image.steps = settings.steps + 1
        return try secondsPerPart { progress in
            _ = try generator.images(for: [prompt], seeds: [Generator.ImageSeed(0)], image, progress: progress)
        }
    }

    /// Seconds for each part of some work after the first, which waits for the prompt.
    private func secondsPerPart(_ work: ((Int) -> Void) throws -> Void) rethrows -> Double {
        var ends: [ContinuousClock.Instant] = []
        try work { _ in ends.append(.now) }
        return (ends[ends.count - 1] - ends[0]) / .seconds(1) / Double(ends.count - 1)
    }

    /// All weights but those of images, and of the embedding one row.
    private var weightBytesPerToken: Int {
        model.parameters.parameters.reduce(0) { sum, parameter in
            if parameter.name.hasPrefix("patch_") { return sum }
            let bytes = parameter.value.byteCount
            return sum + (parameter.name == "model.embed_tokens.weight" ? bytes / settings.vocabulary : bytes)
        }
    }

    /// The matrix products of both branches; a forward pass is a third of a training step.
    private var operationsPerStep: Double {
        let patches = settings.patchesPerImage
        // BOS, BOI and the patches; one branch also sees the prompt.
        let visible = 2 * (2 + patches) + settings.prompt
        let both =
            FloatingPointWork(model.configuration).operations(
                FloatingPointWork.Rows(
                    count: Double(2 * patches), targets: 0, patches: Double(2 * patches),
                    visiblePairs: Double(patches * visible))) / 3
        // Until attention tells the branches apart, they are one.
        let width = model.configuration.width
        return both - Double(2 * patches * (3 * width + model.configuration.patchWidth) * width)
    }
}
