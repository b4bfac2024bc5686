internal import Foundation
internal import TransfusionConfig
internal import TransfusionCore
internal import TransfusionData
internal import TransfusionModels
internal import TransfusionTelemetry

extension AutoencoderTask {
    /// Refuses what cannot fit before it is allocated: the kernel would end a rank some steps later, and again after each restart.
    static func checkMemory(
        _ configuration: RunConfiguration, _ source: PictureStream, _ resources: TrainingResources,
        limit: Int? = ProcessMemory.limitBytes
    ) throws {
        guard let limit else { return }
        let ranks = resources.ranksOnHost
        let needed = ranks * (try bytes(configuration, source, type: resources.context.type))
        guard needed > limit else { return }
        func gigabytes(_ bytes: Int) -> String { String(format: "%.1f GB", Double(bytes) / 1e9) }
        throw CommandFailure(
            "memory: \(ranks) \(ranks == 1 ? "rank" : "ranks") of this host would need \(gigabytes(needed)) of "
                + "\(gigabytes(limit)); take a smaller batch.micro_sequences, parallel.recompute: full, or a smaller "
                + "autoencoder.preset", .wrongUse)
    }

    /// What the weights, their gradients and moments, and a micro-batch take on a rank, found by running a pass with sizes only.
    private static func bytes(
        _ configuration: RunConfiguration, _ source: PictureStream, type: ElementType
    ) throws -> Int {
        let context = Context(
            pool: ThreadPool(threads: 1), type: type, allocator: CachingAllocator(isSizesOnly: true))
        let model = Autoencoder(
            try PictureStream.autoencoder(configuration, of: source.dataset), context,
            recomputes: configuration.parallel.recompute == .full
        ) { Tensor([$0], .f32, allocator: context.allocator) }
        let image = source.dataset.manifest.image
        let shape = [configuration.batch.microSequences, image.channels, image.height, image.width]
        // The last values go before the backward pass does, as in training.
        func forward() {
            let target = context.pictures([], shape, .f32)
            _ = model.reconstruct(
                context.converted(target, to: type), target: target, noise: nil,
                scales: Autoencoder.LossScales(absoluteError: 1, latentError: 1), context)
        }
        context.record(forward)
        try context.backward()
        // Two moments in f32, and in bf16 the lower halves of the master weights.
        return context.allocator.peakBytes + model.parameters.count * (type == .f32 ? 8 : 10)
    }
}
