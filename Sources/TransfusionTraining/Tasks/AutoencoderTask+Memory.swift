internal import Foundation
internal import TransfusionConfig
internal import TransfusionCore
internal import TransfusionData
internal import TransfusionModels
internal import TransfusionParallel
internal import TransfusionTelemetry

extension AutoencoderTask {
    /// Refuses what cannot fit before it is allocated: the kernel would end a rank some steps later, and again after each restart.
    static func checkMemory(
        _ configuration: RunConfiguration, _ source: PictureStream, _ resources: TrainingResources,
        limit: Int? = ProcessMemory.limitBytes
    ) throws {
        guard let limit else { return }
        let ranks = resources.ranksOnHost
        let needed =
            ranks * (try bytes(configuration, source, ranks: resources.mesh.data.size, type: resources.context.type))
        guard needed > limit else { return }
        func gigabytes(_ bytes: Int) -> String { String(format: "%.1f GB", Double(bytes) / 1e9) }
        throw CommandFailure(
            "memory: \(ranks) \(ranks == 1 ? "rank" : "ranks") of this host would need \(gigabytes(needed)) of "
                + "\(gigabytes(limit)); take a smaller batch.micro_sequences, parallel.recompute: full, or a smaller "
                + "autoencoder.preset", .wrongUse)
    }

    /// What the weights, their gradients and moments, and a micro-batch take on a rank, found by running a pass with sizes only.
    private static func bytes(
        _ configuration: RunConfiguration, _ source: PictureStream, ranks: Int, type: ElementType
    ) throws -> Int {
        let context = Context(
            pool: ThreadPool(threads: 1), type: type, allocator: CachingAllocator(isSizesOnly: true))
        let model = Autoencoder(
            try PictureStream.autoencoder(configuration, of: source.dataset), context,
            recomputes: configuration.parallel.recompute == .full,
            trainsCodebook: configuration.autoencoder.codebook == .gradient
        ) { Tensor([$0], .f32, allocator: context.allocator) }
        let image = source.dataset.manifest.image
        var discriminator: PatchDiscriminator?
        if configuration.discriminator.start != nil {
            discriminator = PatchDiscriminator(
                PatchDiscriminator.Configuration(configuration.discriminator, image), context
            ) { Tensor([$0], .f32, allocator: context.allocator) }
        }
        let shape = [configuration.batch.microSequences, image.channels, image.height, image.width]
        // What a survey keeps of a rank's micro-batches: reconstructions, their gradients, and what the last layer got.
        var kept: [Tensor] = []
        if let discriminator {
            let batch = configuration.batch, count = batch.globalSequences / batch.microSequences
            for _ in 0..<max(1, count / ranks) {
                kept += (0..<4).map { _ in context.pictures([], shape) }
                let last = [shape[0], model.configuration.levels[0]] + shape[2...]
                kept.append(context.pictures([], last))
            }
            _ = try discriminator.survey(
                stride(from: 0, to: kept.count, by: 5).map { kept[$0] }, group: SingleRank(), reachesPictures: true,
                context
            ) { $0 }
        }
        let losses = try PictureLosses(configuration, image, context, loads: false)
        // The last values go before the backward pass does, as in training.
        func forward() {
            let target = context.pictures([], shape, .f32)
            let pass = model.reconstruct(
                context.converted(target, to: type), target: nil, noise: nil,
                scales: Autoencoder.LossScales(absoluteError: 0, latentError: 1), context)
            _ = losses(pass.reconstruction, target: target, BatchCounts(images: 1), context)
        }
        context.record(forward)
        try context.backward()
        let parameters = model.parameters.count + (discriminator?.parameters.count ?? 0)
        let average = configuration.autoencoder.averageDecay == nil ? 0 : 4 * model.parameters.count
        // Two moments in f32, and in bf16 the lower halves of the master weights.
        return withExtendedLifetime(kept) {
            context.allocator.peakBytes + parameters * (type == .f32 ? 8 : 10) + average
        }
    }
}
