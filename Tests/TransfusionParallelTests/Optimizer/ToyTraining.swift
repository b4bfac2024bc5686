import TransfusionCore
import TransfusionModels
import TransfusionParallel

/// A few steps of a very small model on made-up data, over any mesh of threads.
struct ToyTraining {
    /// What must not depend on the mesh.
    struct Result: Sendable, Equatable {
        var losses: [Double] = []
        var norms: [Double] = []
        /// Every weight as the model computes with it, whole, by name.
        var weights: [String: [Float]] = [:]
    }

    var data = 1
    var tensor = 1
    var sequenceParallel = false
    var order = ReductionOrder.fast
    var type = ElementType.f32
    var steps = 20
    var slots = 8
    var recomputation = TransfusionModel.Recomputation.none
    /// Small enough that the model has several buckets.
    var bucketLength = 3000

    static let configuration: ModelConfiguration = {
        var configuration = ModelConfiguration(
            layers: 2, width: 32, heads: 4, feedForward: 44, vocabulary: 37, patchSize: 2, imageChannels: 1,
            imageHeight: 4, imageWidth: 4, beginOfText: 0, endOfText: 1, beginOfImage: 35, endOfImage: 36)
        configuration.rmsNormEpsilon = 1e-5
        return configuration
    }()

    func run() throws -> Result {
        try ThreadGroup.run(ranks: data * tensor) { try train($0) }[0]
    }

    private func train(_ world: any Communicator) throws -> Result {
        let mesh = try ProcessMesh(world, data: data, tensor: tensor)
        let allocator = CachingAllocator()
        let pool = ThreadPool(threads: 1)
        let context = Context(
            pool: pool, type: type, allocator: allocator, tensorParallel: mesh.tensor,
            sequenceParallel: sequenceParallel)
        let model = TransfusionModel(Self.configuration, context, recomputation: recomputation) {
            Tensor([$0], .f32, allocator: allocator)
        }
        model.parameters.initialize(seed: 7)
        let optimizer = ShardedAdamW(
            model.parameters, group: mesh.data, tensor: mesh.tensor, settings: AdamW.Settings(), order: order,
            pool: pool, allocator: allocator, bucketLength: bucketLength)

        var result = Result()
        let mine = slots * mesh.data.rank / data..<slots * (mesh.data.rank + 1) / data
        let layouts = try (0..<slots).map { try Self.layout(slot: $0) }
        let weights = TransfusionModel.LossWeights(
            targets: layouts.reduce(0) { $0 + $1.targetCount }, images: layouts.reduce(0) { $0 + $1.imageCount },
            imageLossWeight: 5)
        for step in 0..<steps {
            var losses: [Double] = []
            for slot in mine {
                let images = Self.images(slot: slot, step: step, count: layouts[slot].imageCount, context)
                let found = try context.record {
                    try model.losses(layouts[slot], images: images, weights: weights, context)
                }
                losses.append(found.text * weights.text + found.image * weights.image)
                try optimizer.backward(context, slot: slot - mine.lowerBound, of: mine.count)
            }
            let norm = try optimizer.reduceGradients()
            try optimizer.update(step: step, learningRate: 2e-3, norm: norm, clipNorm: 1)
            result.losses += try mesh.data.sum([ReductionOrder.treeSum(losses)], site: "losses")
            result.norms.append(norm)
        }
        for parameter in model.parameters.parameters {
            result.weights[parameter.name] = try whole(parameter, over: mesh.tensor)
        }
        return result
    }

    /// Puts the parts of the tensor-parallel ranks together.
    private func whole(_ parameter: Parameter, over group: any Communicator) throws -> [Float] {
        let part = parameter.value.floats()
        let bytes = part.withUnsafeBytes { [UInt8]($0) }
        let parts = try group.gather(bytes, root: 0, site: "weights of the test").map { bytes in
            bytes.withUnsafeBytes { Array($0.bindMemory(to: Float.self)) }
        }
        guard let axis = parameter.shard.axis else { return part }
        let rows = axis == 0 ? 1 : parameter.globalShape[0]
        return (0..<rows).flatMap { row in
            parts.flatMap { part -> ArraySlice<Float> in
                let length = part.count / rows
                return part[row * length..<(row + 1) * length]
            }
        }
    }

    /// Slots differ: text alone, text with one image, and text with two.
    private static func layout(slot: Int) throws -> RowLayout {
        let images = slot % 3
        var tokens: [Int32] = [0]
        var imageStarts: [Int32] = []
        for image in 0..<images {
            tokens += [Int32(2 + (slot * 5 + image) % 33), configuration.beginOfImage]
            imageStarts.append(Int32(tokens.count))
            tokens += [Int32](repeating: -1, count: configuration.patchesPerImage) + [configuration.endOfImage]
        }
        tokens += (0..<12).map { Int32(2 + (slot * 7 + $0 * $0) % 33) } + [1]
        return try RowLayout(
            tokens: tokens, documentStarts: [0], imageStarts: imageStarts,
            patchesPerImage: configuration.patchesPerImage, beginOfImage: configuration.beginOfImage,
            endOfImage: configuration.endOfImage)
    }

    private static func images(slot: Int, step: Int, count: Int, _ context: Context) -> NoisedImages? {
        guard count > 0 else { return nil }
        let elements = count * configuration.imageChannels * configuration.imageHeight * configuration.imageWidth
        func values(_ salt: Int) -> [Float] {
            (0..<elements).map { Float(($0 * 37 + slot * 101 + step * 13 + salt) % 211) / 105 - 1 }
        }
        return NoisedImages(
            latents: values(0), noise: values(77),
            timesteps: (0..<count).map { Int32((slot * 97 + step * 31 + $0) % 1000) },
            schedule: NoiseSchedule(), configuration: configuration, context)
    }
}

extension [Double] {
    /// The largest relative difference of two equally long lists.
    func relativeDifference(from other: [Double]) -> Double {
        zip(self, other).map { abs($0 - $1) / Swift.max(abs($1), 1e-30) }.max() ?? 0
    }
}
