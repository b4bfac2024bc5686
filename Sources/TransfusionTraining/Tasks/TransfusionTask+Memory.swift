internal import Foundation
internal import TransfusionConfig
internal import TransfusionCore
internal import TransfusionData
internal import TransfusionModels
internal import TransfusionParallel
internal import TransfusionTelemetry

/// What a rank holds in memory.
extension TransfusionTask {
    func memoryPlan(programBytes: Int, ownedElements: Int) throws -> MemoryPlan? {
        try Self.memoryPlan(
            configuration, source, resources, programBytes: programBytes, ownedElements: ownedElements)
    }

    /// Refuses what cannot fit before it is allocated: the kernel would end a rank some steps later, and again after each restart.
    static func checkMemory(
        _ configuration: RunConfiguration, _ source: BatchSource, _ resources: TrainingResources
    ) throws {
        guard let limit = ProcessMemory.limitBytes else { return }
        let plan = try memoryPlan(configuration, source, resources, programBytes: ProcessMemory.residentBytes)
        let ranks = resources.ranksOnHost, needed = MemoryPlan.total(plan.total, ranks: ranks)
        guard needed > limit else { return }
        let classes = plan.classes.map { "\($0.name) \(gigabytes($0.bytes))" }.joined(separator: ", ")
        throw CommandFailure(
            "memory: \(ranks) \(ranks == 1 ? "rank" : "ranks") of this host would need "
                + "\(gigabytes(needed)) of \(gigabytes(limit)) (each \(classes)); "
                + "take a smaller batch.micro_sequences, parallel.recompute: full, more parallel.tensor or more hosts "
                + "('tf-coord plan' compares them), or a smaller model", .wrongUse)
    }

    private static func gigabytes(_ bytes: Int) -> String { String(format: "%.1f GB", Double(bytes) / 1e9) }

    private static func memoryPlan(
        _ configuration: RunConfiguration, _ source: BatchSource, _ resources: TrainingResources, programBytes: Int,
        ownedElements: Int? = nil
    ) throws -> MemoryPlan {
        let mesh = resources.mesh
        var layout = MemoryPlan.Layout(
            configuration, data: mesh.shape.data, hosts: Set(mesh.world.hosts).count, type: resources.context.type)
        layout.ownedElements = ownedElements
        // Memory goes with the images that there are, not with those that were asked for.
        let microBatch = MicroBatchSizes(
            source.model, sequences: configuration.batch.microSequences,
            sequenceLength: configuration.batch.sequenceLength,
            textToImageRatio: source.shares.textToImageRatio ?? 1000)
        return MemoryPlan(
            source.model, layout, try TransfusionModel.cost(source.model, layout, microBatch),
            images: microBatch.mostImages, programBytes: programBytes)
    }
}
