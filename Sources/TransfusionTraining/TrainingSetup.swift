internal import Foundation
internal import TransfusionConfig
internal import TransfusionCore
internal import TransfusionData
internal import TransfusionInference
internal import TransfusionParallel

/// What a run trains with, made of its configuration: data, threads, model and optimizer.
struct TrainingSetup {
    let mesh: ProcessMesh
    let context: Context
    let source: BatchSource
    let modelConfiguration: ModelConfiguration
    let state: TrainingState
    let samples: TrainingSamples
    /// Floating-point operations per second that all ranks together can do, as measured.
    let peakRate: Double
    /// What a person should know at the start, a line each.
    let report: [String]

    /// - Parameters:
    ///   - group: All ranks.
    ///   - ranksOnHost: How many of them share this host's processors.
    /// - Throws: `CommandFailure` with one line for each problem of the configuration.
    init(_ configuration: RunConfiguration, group: any Communicator, ranksOnHost: Int) throws {
        var opened: (source: BatchSource, model: ModelConfiguration, samples: TrainingSamples)?
        try group.agree("opening the data set") { opened = try Self.open(configuration, ranks: group.size) }
        guard let opened else { preconditionFailure("all ranks agreed on a data set that is not there") }
        source = opened.source
        modelConfiguration = opened.model
        samples = opened.samples

        try group.agree("arranging the ranks") {
            _ = try MeshShape(
                hosts: group.hosts, data: configuration.parallel.data, tensor: configuration.parallel.tensor)
        }
        mesh = try ProcessMesh(group, data: configuration.parallel.data, tensor: configuration.parallel.tensor)
        let data = mesh.data

        let cpu = CPUReport()
        let threads = configuration.parallel.threads ?? max(1, cpu.cpuCount / ranksOnHost)
        let pool = ThreadPool(threads: threads)
        // All ranks compute in one type, or their gradients would not belong together.
        let everyRankHasUnits = try !group.any(!CPUReport.hasBF16Units, site: "precision")
        let type: ElementType =
            switch configuration.precision {
            case .automatic: everyRankHasUnits ? .bf16 : .f32
            case .f32: .f32
            case .bf16: .bf16
            }
        let allocator = CachingAllocator()
        context = Context(
            pool: pool, type: type, allocator: allocator, tensorParallel: mesh.tensor,
            sequenceParallel: configuration.parallel.sequenceParallel)
        let model = try TransfusionModel(
            modelConfiguration, context,
            recomputation: TransfusionModel.Recomputation(configuration.parallel.recompute)
        ) { count in
            // Where ranks share a host they add up each other's gradients in place.
            let buffer = try data.allocateShared(byteCount: count * ElementType.f32.byteCount)
            return Tensor([count], .f32, wrapping: buffer.bytes) { withExtendedLifetime(buffer) {} }
        }
        let settings = configuration.optimizer
        let optimizer = ShardedAdamW(
            model.parameters, group: mesh.data, tensor: mesh.tensor,
            settings: AdamW.Settings(
                beta1: Float(settings.beta1), beta2: Float(settings.beta2), epsilon: Float(settings.epsilon),
                weightDecay: Float(settings.weightDecay)),
            order: ReductionOrder(configuration.parallel.reduction), pool: pool, allocator: allocator)
        state = TrainingState(model: model, optimizer: optimizer, savesWholeParameters: mesh.tensor.rank == 0)

        try group.barrier(site: "peak rate")
        peakRate = try group.sum([context.measuredPeakRate()], site: "peak rate")[0]
        report = Self.report(
            model: model, optimizer: optimizer, dataset: source.dataset, context: context, cpu: cpu, mesh: mesh,
            ranksOnHost: ranksOnHost, peakRate: peakRate)
    }

    /// The data of a configuration, and the model that fits it.
    private static func open(
        _ configuration: RunConfiguration, ranks: Int
    ) throws -> (source: BatchSource, model: ModelConfiguration, samples: TrainingSamples) {
        let dataset = try PackedDataset(configuration.data.path)
        let image = dataset.manifest.image, tokens = dataset.manifest.tokens
        let problems = configuration.problems(ranks: ranks, imageHeight: image.height, imageWidth: image.width)
        guard problems.isEmpty else { throw ConfigurationError(problems: problems) }
        let model = configuration.modelConfiguration(
            vocabulary: tokens.vocabulary, imageChannels: image.channels, imageHeight: image.height,
            imageWidth: image.width, beginOfText: tokens.beginOfText, endOfText: tokens.endOfText,
            beginOfImage: tokens.beginOfImage, endOfImage: tokens.endOfImage)
        var settings = BatchSettings(
            sequenceLength: configuration.batch.sequenceLength, globalSequences: configuration.batch.globalSequences,
            seed: UInt64(configuration.seed))
        settings.captionFirst = configuration.data.captionFirst
        settings.captionDropout = configuration.data.captionDropout
        settings.noiseCap = configuration.data.noiseCap
        settings.textToImageRatio = configuration.data.textImageRatio
        return (
            try BatchSource(dataset: dataset, settings: settings, model: model), model,
            try TrainingSamples(configuration, tokenizer: dataset.tokenizer)
        )
    }

    private static func report(
        model: TransfusionModel, optimizer: ShardedAdamW, dataset: PackedDataset, context: Context, cpu: CPUReport,
        mesh: ProcessMesh, ranksOnHost: Int, peakRate: Double
    ) -> [String] {
        func megabytes(_ bytes: Int) -> String { String(format: "%.1f MB", Double(bytes) / 1e6) }
        let store = model.parameters, configuration = model.configuration
        var lines = [
            "model: \(configuration.layers) layers, width \(configuration.width), \(configuration.heads) heads, "
                + "\(store.globalCount) parameters; images \(configuration.imageHeight) × \(configuration.imageWidth) × "
                + "\(configuration.imageChannels) in \(configuration.patchesPerImage) patches; "
                + "\(configuration.vocabulary) tokens",
            "data: \(dataset.path), digest \(dataset.manifest.digest.prefix(12))",
            "processor: \(cpu.summary)",
            "compute: \(context.type.rawValue), \(mesh.world.size) \(mesh.world.size == 1 ? "rank" : "ranks") (\(mesh.shape)) × "
                + "\(context.pool.threadCount) threads, matrix products at \(Int(peakRate / 1e9)) GFLOP/s together",
            "memory per rank: weights \(megabytes(store.matrices.byteCount + store.vectors.byteCount)), "
                + "gradients \(megabytes(store.gradients?.byteCount ?? 0)), "
                + "optimizer \(megabytes(optimizer.optimizer.byteCount))",
        ]
        if context.pool.threadCount * ranksOnHost > cpu.cpuCount {
            lines.append(
                "warning: \(ranksOnHost) ranks × \(context.pool.threadCount) threads share \(cpu.cpuCount) processors; "
                    + "set parallel.threads or start fewer ranks")
        }
        return lines
    }
}

extension ReductionOrder {
    init(_ reduction: RunConfiguration.Parallel.Reduction) {
        switch reduction {
        case .fast: self = .fast
        case .elastic: self = .elastic
        }
    }
}

extension TransfusionModel.Recomputation {
    init(_ recompute: RunConfiguration.Parallel.Recompute) {
        switch recompute {
        case .none: self = .none
        case .full: self = .full
        }
    }
}
