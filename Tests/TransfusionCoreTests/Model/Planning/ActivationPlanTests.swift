import Testing
import _TestUtilities

@testable import TransfusionCore

/// Holds the plan to what the allocator counts in a real pass.
@Suite struct ActivationPlanTests {
    private static let model: ModelConfiguration = {
        var model = ModelConfiguration(
            layers: 3, width: 128, heads: 4, feedForward: 344, vocabulary: 1031, patchSize: 2, imageChannels: 8,
            imageHeight: 16, imageWidth: 16, beginOfText: 1, endOfText: 2, beginOfImage: 1029, endOfImage: 1030)
        model.timestepAfterProjection = false
        return model
    }()

    private struct Case: CustomTestStringConvertible, Sendable {
        let type: ElementType
        let recomputation: TransfusionModel.Recomputation
        let images: Int
        var testDescription: String { "\(type.rawValue), recompute \(recomputation.rawValue), \(images) images" }
    }

    private static let cases = [ElementType.f32, .bf16].flatMap { type in
        TransfusionModel.Recomputation.allCases.flatMap { recomputation in
            [0, 3].map { Case(type: type, recomputation: recomputation, images: $0) }
        }
    }

    @Test(arguments: cases) private func peakIsWhatAPassTakes(_ example: Case) throws {
        let rows = 640
        let layout = try Self.layout(rows: rows, images: example.images)
        let context = Context(pool: ThreadPool(threads: 2), type: example.type)
        let model = TransfusionModel(Self.model, context, recomputation: example.recomputation) {
            Tensor([$0], .f32, allocator: context.allocator)
        }
        model.parameters.initialize(seed: 1)
        let state = context.allocator.liveBytes
        #expect(context.allocator.cachedBytes == 0)
        context.allocator.resetPeak()

        let elements = example.images * Self.model.patchesPerImage * Self.model.patchWidth
        let images =
            example.images == 0
            ? nil
            : NoisedImages(
                latents: [Float](repeating: 0.5, count: elements), noise: [Float](repeating: 0.1, count: elements),
                timesteps: [Int32](repeating: 400, count: example.images), schedule: NoiseSchedule(),
                configuration: Self.model, context)
        let weights = TransfusionModel.LossWeights(
            targets: layout.targetCount, images: layout.imageCount, imageLossWeight: 5)
        _ = try context.record { try model.losses(layout, images: images, weights: weights, context) }
        try context.backward()

        var shape = MemoryPlan.Layout()
        shape.type = example.type
        shape.recomputation = example.recomputation
        let plan = ActivationPlan(
            Self.model, shape,
            MemoryPlan.MicroBatch(rows: rows, targets: layout.targetCount, images: example.images))
        let peak = context.allocator.peakBytes - state
        #expect(abs(Double(plan.peakBytes) / Double(peak) - 1) < 0.03, "planned \(plan.peakBytes), took \(peak)")
        // Every block that the allocator has got, less what no tensor has written.
        let blocks = context.allocator.liveBytes + context.allocator.cachedBytes - state
        #expect(plan.residentBytes <= blocks && Double(plan.residentBytes) > 0.75 * Double(blocks))
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

    @Test func stateOfASmallModelIsTwelveAndFourBytesAParameter() {
        let model = Self.model(.size0_16B)
        let batch = MemoryPlan.MicroBatch(model, rows: 1024, textToImageRatio: 1)
        let count = TransfusionModel.parameterCount(model)
        let plan = MemoryPlan(model, MemoryPlan.Layout(), batch, programBytes: 0)
        func isAbout(_ bytes: Int, _ expected: Int) -> Bool { abs(Double(bytes) / Double(expected) - 1) < 0.001 }
        #expect(isAbout(plan.weights, 2 * count))
        #expect(isAbout(plan.gradients, 4 * count))
        #expect(isAbout(plan.master, 2 * count))
        #expect(isAbout(plan.moments, 8 * count))
        #expect(plan.total == plan.classes.reduce(0) { $0 + $1.bytes })
    }

    @Test func optimizerStateFallsWithTheDataParallelRanks() {
        let model = Self.model(.size7B)
        let batch = MemoryPlan.MicroBatch(model, rows: 4096, textToImageRatio: 1)
        var layout = MemoryPlan.Layout()
        let alone = MemoryPlan(model, layout, batch, programBytes: 0)
        layout.data = 1000
        let shared = MemoryPlan(model, layout, batch, programBytes: 0)
        #expect(shared.moments == (alone.moments / 8 + 999) / 1000 * 8)
        #expect(shared.master * 4 == shared.moments)
        #expect(shared.weights == alone.weights && shared.activations == alone.activations)
    }

    @Test func tensorParallelRanksShareWeightsAndActivations() {
        let model = Self.model(.size7B)
        let batch = MemoryPlan.MicroBatch(model, rows: 4096, textToImageRatio: 1)
        var layout = MemoryPlan.Layout()
        layout.recomputation = .full
        let whole = MemoryPlan(model, layout, batch, programBytes: 0)
        layout.tensor = 4
        let part = MemoryPlan(model, layout, batch, programBytes: 0)
        #expect(Double(part.weights) < 0.27 * Double(whole.weights))
        #expect(Double(part.activations) < 0.5 * Double(whole.activations))
    }

    @Test func elasticSumsNeedAGradientBufferForEachDoubling() {
        let model = Self.model(.tiny)
        let batch = MemoryPlan.MicroBatch(model, rows: 512, textToImageRatio: 1)
        var layout = MemoryPlan.Layout()
        layout.microBatches = 8
        let fast = MemoryPlan(model, layout, batch, programBytes: 0)
        layout.isElastic = true
        #expect(MemoryPlan(model, layout, batch, programBytes: 0).buffers - fast.buffers == 3 * fast.gradients)
    }
}
