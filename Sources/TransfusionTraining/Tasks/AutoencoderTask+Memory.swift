internal import Foundation
internal import TransfusionConfig
internal import TransfusionCore
internal import TransfusionData
internal import TransfusionModels
internal import TransfusionParallel
internal import TransfusionTelemetry

/// What a rank holds in memory.
extension AutoencoderTask {
    func memoryPlan(programBytes: Int, ownedElements: Int) throws -> MemoryPlan? {
        try Self.memoryPlan(
            configuration, source, resources, programBytes: programBytes, ownedElements: ownedElements)
    }

    /// Refuses what cannot fit before it is allocated: the kernel would end a rank some steps later, and again after each restart.
    static func checkMemory(
        _ configuration: RunConfiguration, _ source: PictureStream, _ resources: TrainingResources,
        programBytes: Int = ProcessMemory.residentBytes, limit: Int? = ProcessMemory.limitBytes
    ) throws {
        guard let limit else { return }
        let plan = try memoryPlan(configuration, source, resources, programBytes: programBytes)
        let ranks = resources.ranksOnHost, needed = MemoryPlan.total(plan.total, ranks: ranks)
        guard needed > limit else { return }
        func gigabytes(_ bytes: Int) -> String { String(format: "%.1f GB", Double(bytes) / 1e9) }
        throw CommandFailure(
            "memory: \(ranks) \(ranks == 1 ? "rank" : "ranks") of this host would need \(gigabytes(needed)) of "
                + "\(gigabytes(limit)); take a smaller batch.micro_sequences, parallel.recompute: full, or a smaller "
                + "autoencoder.preset ('tf-coord plan' compares layouts)", .wrongUse)
    }

    private static func memoryPlan(
        _ configuration: RunConfiguration, _ source: PictureStream, _ resources: TrainingResources, programBytes: Int,
        ownedElements: Int? = nil
    ) throws -> MemoryPlan {
        let mesh = resources.mesh, image = source.dataset.manifest.image
        var layout = MemoryPlan.Layout(
            configuration, data: mesh.shape.data, hosts: Set(mesh.world.hosts).count, type: resources.context.type)
        layout.ownedElements = ownedElements
        let planned = PlannedAutoencoder(
            configuration, channels: image.channels, height: image.height, width: image.width)
        let pictures = configuration.batch.microSequences
        return MemoryPlan(
            planned.sizes(layout, sequences: pictures), layout, try planned.cost(layout, sequences: pictures),
            programBytes: programBytes)
    }
}
