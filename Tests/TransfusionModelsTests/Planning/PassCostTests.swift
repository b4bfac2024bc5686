import Testing
import _TestUtilities

@testable import TransfusionCore
@testable import TransfusionModels

/// Holds what a pass is said to take to what a real one takes.
@Suite struct PassCostTests {
    private static let model: ModelConfiguration = {
        var model = ModelConfiguration(
            layers: 3, width: 128, heads: 4, feedForward: 344, vocabulary: 1031, patchSize: 2, imageChannels: 8,
            imageHeight: 16, imageWidth: 16, beginOfText: 1, endOfText: 2, beginOfImage: 1029, endOfImage: 1030)
        model.timestepAfterProjection = false
        return model
    }()

    /// With the options of the Llama family.
    private static let llama: ModelConfiguration = {
        var model = PassCostTests.model
        model.keyValueHeads = 2
        model.headWidth = 48
        model.hasTiedEmbeddings = true
        model.attentionBias = .all
        model.queryKeyNorm = .rms
        return model
    }()

    private struct Case: CustomTestStringConvertible, Sendable {
        let type: ElementType
        let recomputation: TransfusionModel.Recomputation
        let images: Int
        var isLlama = false
        var model: ModelConfiguration { isLlama ? llama : PassCostTests.model }
        var testDescription: String {
            "\(type.rawValue), recompute \(recomputation.rawValue), \(images) images\(isLlama ? ", a Llama" : "")"
        }
    }

    private static let cases = [ElementType.f32, .bf16].flatMap { type in
        TransfusionModel.Recomputation.allCases.flatMap { recomputation in
            [0, 3].map { Case(type: type, recomputation: recomputation, images: $0) }
                + [Case(type: type, recomputation: recomputation, images: 3, isLlama: true)]
        }
    }

    @Test(arguments: cases) private func isWhatAPassTakes(_ example: Case) throws {
        let rows = 640
        let layout = try Self.layout(rows: rows, images: example.images)
        let context = Context(pool: ThreadPool(threads: 1), type: example.type)
        let model = TransfusionModel(example.model, context, recomputation: example.recomputation) {
            Tensor([$0], .f32, allocator: context.allocator)
        }
        model.parameters.initialize(seed: 1)
        let state = context.allocator.liveBytes
        let resident = context.allocator.residentBytes
        context.allocator.resetPeak()

        try Self.record(layout, model, context)
        try context.backward()

        var shape = MemoryPlan.Layout()
        shape.type = example.type
        shape.recomputation = example.recomputation
        let cost = try TransfusionModel.cost(
            example.model, shape,
            MicroBatchSizes(sequenceLength: rows, images: example.images, targets: layout.targetCount))
        #expect(cost.peakBytes == context.allocator.peakBytes - state)
        #expect(cost.residentBytes == context.allocator.residentBytes - resident)
        #expect(cost.work == context.work)
    }

    /// The forward pass as training has it: it is over, and the images are gone, when the backward pass begins.
    private static func record(_ layout: RowLayout, _ model: TransfusionModel, _ context: Context) throws {
        let elements = [Float](repeating: 0.5, count: layout.imageCount * Patches(Self.model).imageCount)
        try context.record {
            let images =
                layout.imageCount == 0
                ? nil
                : NoisedImages(
                    latents: elements, noise: elements,
                    timesteps: [Int32](repeating: 400, count: layout.imageCount), schedule: NoiseSchedule(),
                    configuration: Self.model, context)
            let weights = TransfusionModel.LossWeights(
                targets: layout.targetCount, images: layout.imageCount, imageLossWeight: 5)
            _ = try model.losses(layout, images: images, weights: weights, context)
        }
    }

    @Test func takesNoMemory() throws {
        // 7 billion parameters: their gradients alone would be 27 GB.
        let sizes = ModelPreset.size7B.sizes
        let model = ModelConfiguration(
            layers: sizes.layers, width: sizes.width, heads: sizes.heads, feedForward: sizes.feedForward,
            vocabulary: 32002, patchSize: 2, imageChannels: 8, imageHeight: 32, imageWidth: 32, beginOfText: 1,
            endOfText: 2, beginOfImage: 32000, endOfImage: 32001)
        let batch = MicroBatchSizes(model, sequences: 1, sequenceLength: 4096, textToImageRatio: 1)
        #expect(batch.images == 8)
        let cost = try TransfusionModel.cost(model, MemoryPlan.Layout(), batch)
        // 6 operations for each weight and row; the head meets half of the rows, embedding none.
        let weights = 32 * (4 * 4096 * 4096 + 3 * 4096 * 11008) + 4096 * 32002 / 2
        let visiblePairs = 4096 * 4097 / 2 + 8 * 256 * 255 / 2
        let operations = 6 * 4096 * weights + 12 * 32 * 4096 * visiblePairs
        #expect(abs(cost.work.operations / Double(operations) - 1) < 0.002)
        #expect(cost.peakBytes > 10 << 30)
    }

    @Test func averagesLieBetweenNumbersOfImages() throws {
        var layout = MemoryPlan.Layout()
        layout.tensor = 2
        func cost(_ images: Double) throws -> PassCost {
            var sizes = MicroBatchSizes(sequenceLength: 640, images: 0, targets: 640)
            sizes.images = images
            sizes.targets -= images * Double(Self.model.patchesPerImage)
            return try TransfusionModel.cost(Self.model, layout, sizes)
        }
        let two = try cost(2), three = try cost(3), between = try cost(2.25)
        #expect(between.peakBytes == three.peakBytes && between.residentBytes == three.residentBytes)
        let operations = 0.75 * two.work.operations + 0.25 * three.work.operations
        #expect(abs(between.work.operations / operations - 1) < 1e-12)
        let exchanged = 0.75 * two.exchangedBytes + 0.25 * three.exchangedBytes
        #expect(abs(between.exchangedBytes / exchanged - 1) < 1e-12 && exchanged > 0)
    }

    /// Text with images evenly between it.
    private static func layout(rows: Int, images: Int) throws -> RowLayout {
        let patches = model.patchesPerImage
        var tokens = (0..<rows).map { Int32(3 + $0 % 1000) }
        let starts = (0..<images).map { Int32(20 + $0 * (patches + 20)) }
        for start in starts { for row in Int(start)..<Int(start) + patches { tokens[row] = -1 } }
        return try RowLayout(
            tokens: tokens, documentStarts: [0], imageStarts: starts, patchesPerImage: patches,
            beginOfImage: model.beginOfImage, endOfImage: model.endOfImage)
    }
}

@Suite struct MemoryPlanTests {
    @Test(arguments: [(1000, 3, 3000), (0, 7, 0), (1 << 60, 7, 7 << 60), (1 << 60, 8, .max), (.max, 2, .max)])
    func whatCannotBeCountedIsTooMuch(_ bytes: Int, _ ranks: Int, _ total: Int) {
        #expect(MemoryPlan.total(bytes, ranks: ranks) == total)
    }

    private static func model(_ preset: ModelPreset) -> ModelConfiguration {
        let sizes = preset.sizes
        return ModelConfiguration(
            layers: sizes.layers, width: sizes.width, heads: sizes.heads, feedForward: sizes.feedForward,
            vocabulary: 32002, patchSize: 2, imageChannels: 8, imageHeight: 32, imageWidth: 32, beginOfText: 1,
            endOfText: 2, beginOfImage: 32000, endOfImage: 32001)
    }

    private static func plan(
        _ model: ModelConfiguration, _ layout: MemoryPlan.Layout, _ batch: MicroBatchSizes
    ) throws -> MemoryPlan {
        MemoryPlan(
            model, layout, try TransfusionModel.cost(model, layout, batch), images: batch.mostImages, programBytes: 0)
    }

    @Test func stateOfASmallModelIsTwelveAndFourBytesAParameter() throws {
        let model = Self.model(.size0_16B)
        let batch = MicroBatchSizes(model, sequences: 1, sequenceLength: 1024, textToImageRatio: 1)
        let count = TransfusionModel.parameterCount(model)
        let plan = try Self.plan(model, MemoryPlan.Layout(), batch)
        func isAbout(_ bytes: Int, _ expected: Int) -> Bool { abs(Double(bytes) / Double(expected) - 1) < 0.001 }
        #expect(isAbout(plan.weights, 2 * count))
        #expect(isAbout(plan.gradients, 4 * count))
        #expect(isAbout(plan.master, 2 * count))
        #expect(isAbout(plan.moments, 8 * count))
        #expect(plan.total == plan.classes.reduce(0) { $0 + $1.bytes })
    }

    @Test func optimizerStateFallsWithTheDataParallelRanks() throws {
        let model = Self.model(.size7B)
        let batch = MicroBatchSizes(model, sequences: 1, sequenceLength: 4096, textToImageRatio: 1)
        var layout = MemoryPlan.Layout()
        let alone = try Self.plan(model, layout, batch)
        layout.data = 1000
        let shared = try Self.plan(model, layout, batch)
        #expect(shared.moments == (alone.moments / 8 + 999) / 1000 * 8)
        #expect(shared.master * 4 == shared.moments)
        #expect(shared.weights == alone.weights && shared.activations == alone.activations)
    }

    @Test func tensorParallelRanksShareWeightsAndActivations() throws {
        let model = Self.model(.size7B)
        let batch = MicroBatchSizes(model, sequences: 1, sequenceLength: 4096, textToImageRatio: 1)
        var layout = MemoryPlan.Layout()
        layout.recomputation = .full
        let whole = try Self.plan(model, layout, batch)
        layout.tensor = 4
        let part = try Self.plan(model, layout, batch)
        #expect(Double(part.weights) < 0.27 * Double(whole.weights))
        #expect(Double(part.activations) < 0.5 * Double(whole.activations))
    }

    @Test func elasticSumsNeedAGradientBufferForEachDoubling() throws {
        let model = Self.model(.tiny)
        let batch = MicroBatchSizes(model, sequences: 1, sequenceLength: 512, textToImageRatio: 1)
        var layout = MemoryPlan.Layout()
        layout.microBatches = 8
        let fast = try Self.plan(model, layout, batch)
        layout.isElastic = true
        let elastic = try Self.plan(model, layout, batch)
        #expect(elastic.buffers - fast.buffers == 3 * fast.gradients)
    }
}
