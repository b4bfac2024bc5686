internal import Foundation
internal import TransfusionConfig
internal import TransfusionCore
internal import TransfusionData
internal import TransfusionInference
internal import TransfusionModels
internal import TransfusionParallel
internal import TransfusionTelemetry

/// What a run trains with, made of its configuration: data, threads, model and optimizer.
struct TrainingSetup {
    let mesh: ProcessMesh
    let context: Context
    let source: BatchSource
    let modelConfiguration: ModelConfiguration
    let state: TrainingState
    let samples: TrainingSamples
    let seed: UInt64
    /// The path of a model that the run starts from, when it does not start from the seed.
    let initialWeights: String?
    let utilization: Utilization
    /// What this rank holds in memory once it has done a step and a checkpoint.
    let memory: MemoryPlan
    /// What a person should know at the start, a line each.
    let report: [String]

    /// - Parameters:
    ///   - group: All ranks.
    ///   - ranksOnHost: How many of them share this host's processors.
    /// - Throws: `CommandFailure` with one line for each problem of the configuration.
    init(_ configuration: RunConfiguration, group: any Communicator, ranksOnHost: Int) throws {
        var opened: (source: BatchSource, samples: TrainingSamples)?
        try group.agree("opening the data set") { opened = try Self.open(configuration, ranks: group.size) }
        guard let opened else { preconditionFailure("all ranks agreed on a data set that is not there") }
        source = opened.source
        seed = UInt64(configuration.seed)
        initialWeights = configuration.model.initialWeights
        modelConfiguration = opened.source.model
        samples = opened.samples

        try group.agree("arranging the ranks") {
            _ = try MeshShape(
                hosts: group.hosts, data: configuration.parallel.data, tensor: configuration.parallel.tensor)
        }
        mesh = try ProcessMesh(group, data: configuration.parallel.data, tensor: configuration.parallel.tensor)

        let cpu = CPUReport()
        let threads = configuration.parallel.threads ?? max(1, cpu.cpuCount / ranksOnHost)
        let pool = ThreadPool(threads: threads)
        // All ranks compute in one type, or their gradients would not belong together.
        let everyRankHasUnits = try !group.any(!CPUReport.hasBF16Units, site: "precision")
        let type = configuration.precision.type(hasBF16Units: everyRankHasUnits)
        context = Context(
            pool: pool, type: type, allocator: CachingAllocator(), tensorParallel: mesh.tensor,
            sequenceParallel: configuration.parallel.sequenceParallel)
        // Memory goes with the images that there are, not with those that were asked for.
        var planned = configuration
        planned.data.textImageRatio = source.shares.textToImageRatio ?? 1000
        try group.agree("planning the memory") { [mesh, modelConfiguration, planned] in
            try Self.checkMemory(planned, modelConfiguration, mesh, type, ranksOnHost: ranksOnHost)
        }
        let settings = configuration.optimizer
        state = try TrainingState(
            modelConfiguration, context, mesh,
            recomputation: TransfusionModel.Recomputation(configuration.parallel.recompute),
            settings: AdamW.Settings(
                beta1: Float(settings.beta1), beta2: Float(settings.beta2), epsilon: Float(settings.epsilon),
                weightDecay: Float(settings.weightDecay)),
            order: ReductionOrder(configuration.parallel.reduction))

        utilization = try Utilization(group, context)
        // All of the state has been written by now; what else is resident is the program.
        let parameters = state.model.parameters
        let stateBytes =
            parameters.matrices.byteCount + parameters.vectors.byteCount + (parameters.gradients?.byteCount ?? 0)
            + state.optimizer.byteCount
        memory = try Self.memoryPlan(
            planned, modelConfiguration, mesh, type,
            programBytes: max(0, ProcessMemory.residentBytes - stateBytes),
            ownedElements: state.optimizer.optimizer.ownedRanges.reduce(0) { $0 + $1.count })
        report = Self.report(
            model: state.model, memory: memory, source: source, context: context, cpu: cpu, mesh: mesh,
            ranksOnHost: ranksOnHost, utilization: utilization)
    }

    /// The data of a configuration, in batches for its model.
    private static func open(
        _ configuration: RunConfiguration, ranks: Int
    ) throws -> (source: BatchSource, samples: TrainingSamples) {
        let dataset = try PackedDataset(configuration.data.path)
        return (
            try BatchSource(configuration, dataset: dataset, ranks: ranks),
            try TrainingSamples(configuration, tokenizer: dataset.tokenizer)
        )
    }

    /// Refuses what cannot fit before it is allocated: the kernel would end a rank some steps later, and again after each restart.
    private static func checkMemory(
        _ configuration: RunConfiguration, _ model: ModelConfiguration, _ mesh: ProcessMesh, _ type: ElementType,
        ranksOnHost: Int
    ) throws {
        guard let limit = ProcessMemory.limitBytes else { return }
        let plan = try memoryPlan(configuration, model, mesh, type, programBytes: ProcessMemory.residentBytes)
        let needed = MemoryPlan.total(plan.total, ranks: ranksOnHost)
        guard needed > limit else { return }
        let classes = plan.classes.map { "\($0.name) \(gigabytes($0.bytes))" }.joined(separator: ", ")
        throw CommandFailure(
            "memory: \(ranksOnHost) \(ranksOnHost == 1 ? "rank" : "ranks") of this host would need "
                + "\(gigabytes(needed)) of \(gigabytes(limit)) (each \(classes)); "
                + "take a smaller batch.micro_sequences, parallel.recompute: full, more parallel.tensor or more hosts "
                + "('tf-coord plan' compares them), or a smaller model", .wrongUse)
    }

    private static func gigabytes(_ bytes: Int) -> String { String(format: "%.1f GB", Double(bytes) / 1e9) }

    private static func memoryPlan(
        _ configuration: RunConfiguration, _ model: ModelConfiguration, _ mesh: ProcessMesh, _ type: ElementType,
        programBytes: Int, ownedElements: Int? = nil
    ) throws -> MemoryPlan {
        var layout = MemoryPlan.Layout(
            configuration, data: mesh.shape.data, hosts: Set(mesh.world.hosts).count, type: type)
        layout.ownedElements = ownedElements
        let microBatch = MicroBatchSizes(
            model, sequences: configuration.batch.microSequences, sequenceLength: configuration.batch.sequenceLength,
            textToImageRatio: configuration.data.textImageRatio)
        return MemoryPlan(
            model, layout, try TransfusionModel.cost(model, layout, microBatch), images: microBatch.mostImages,
            programBytes: programBytes)
    }

    private static func report(
        model: TransfusionModel, memory: MemoryPlan, source: BatchSource, context: Context, cpu: CPUReport,
        mesh: ProcessMesh, ranksOnHost: Int, utilization: Utilization
    ) -> [String] {
        func megabytes(_ bytes: Int) -> String { String(format: "%.1f MB", Double(bytes) / 1e6) }
        let configuration = model.configuration
        var lines = [
            "model: \(configuration.layers) layers, width \(configuration.width), \(configuration.heads) heads, "
                + "\(model.parameters.globalCount) parameters; images \(configuration.imageHeight) × \(configuration.imageWidth) × "
                + "\(configuration.imageChannels) in \(configuration.patchesPerImage) patches; "
                + "\(configuration.vocabulary) tokens",
            "data: \(source.dataset.path), digest \(source.dataset.manifest.digest.prefix(12)); \(source.shares)",
            "processor: \(cpu.summary)",
            "compute: \(context.type.rawValue), \(mesh.world.size) \(mesh.world.size == 1 ? "rank" : "ranks") (\(mesh.shape)) × "
                + "\(context.pool.threadCount) threads, matrix products at \(Int(utilization.peakRate / 1e9)) GFLOP/s together"
                + busyNote(utilization),
            "memory per rank: "
                + memory.classes.map { "\($0.name) \(megabytes($0.bytes))" }.joined(separator: ", ")
                + "; together \(megabytes(memory.total))",
        ]
        if context.pool.threadCount * ranksOnHost > cpu.cpuCount {
            lines.append(
                "warning: \(ranksOnHost) ranks × \(context.pool.threadCount) threads share \(cpu.cpuCount) processors; "
                    + "set parallel.threads or start fewer ranks")
        }
        return lines
    }

    /// Why the rate of matrix products is not what utilisation can be a share of.
    private static func busyNote(_ utilization: Utilization) -> String {
        guard !utilization.isPeakQuiet else { return "" }
        guard let share = utilization.othersShareAtPeak else {
            return " (no mfu: /proc/stat does not say who else computes)"
        }
        return String(format: " while others used %.0f %% of the processors (no mfu until that is less)", 100 * share)
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
