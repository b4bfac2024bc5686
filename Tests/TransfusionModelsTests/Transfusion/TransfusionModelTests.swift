import Foundation
import Testing
import _TestUtilities

@testable import TransfusionCore
@testable import TransfusionModels

/// A model, a batch and what PyTorch computes from them.
private struct ModelFixture {
    let configuration: ModelConfiguration
    let weights: Fixture
    let batch: Fixture
    let reference: Fixture
    let layout: RowLayout

    init(_ folder: String) throws {
        let data = try Data(contentsOf: URL(filePath: Fixtures.path("\(folder)/config.json")))
        configuration = try JSONDecoder().decode(ModelConfiguration.self, from: data)
        weights = .whole("\(folder)/model.safetensors")
        batch = .whole("\(folder)/batch.safetensors")
        reference = .whole("\(folder)/reference.safetensors")
        layout = try RowLayout(
            tokens: batch["tokens"].integers, documentStarts: batch["document_starts"].integers,
            imageStarts: batch["image_starts"].integers, patchesPerImage: configuration.patchesPerImage,
            beginOfImage: configuration.beginOfImage, endOfImage: configuration.endOfImage,
            options: configuration.rowOptions)
    }

    func model(
        _ context: Context, recomputation: TransfusionModel.Recomputation = .none
    ) throws -> TransfusionModel {
        let model = TransfusionModel(configuration, context, recomputation: recomputation) {
            Tensor([$0], .f32, allocator: context.allocator)
        }
        for parameter in model.parameters.parameters {
            let values = try #require(weights.values[parameter.name], "\(parameter.name)")
            #expect(values.shape == parameter.globalShape, "\(parameter.name)")
            values.floats.withUnsafeBufferPointer { parameter.writeMaster($0, at: 0) }
        }
        #expect(Set(weights.values.keys) == Set(model.parameters.parameters.map(\.name)))
        return model
    }

    func images(_ context: Context) -> NoisedImages {
        NoisedImages(
            latents: batch["latents"].floats, noise: batch["noise"].floats, timesteps: batch["timesteps"].integers,
            schedule: NoiseSchedule(), configuration: configuration, context)
    }

    var lossWeights: TransfusionModel.LossWeights {
        TransfusionModel.LossWeights(targets: layout.targetCount, images: layout.imageCount, imageLossWeight: 5)
    }
}

@Suite struct TransfusionModelTests {
    @Test(arguments: ["model", "model_options"]) func predictionsAgreeWithPyTorch(folder: String) throws {
        let fixture = try ModelFixture(folder), context = Context.forTests()
        let model = try fixture.model(context)
        let hidden = try model.hiddenStates(
            tokens: fixture.layout.tokens, images: fixture.images(context), imageStarts: fixture.layout.imageStarts,
            rows: AttentionRows(fixture.layout, context), context)
        let logits = try model.logits(hidden, rows: Array(0..<Int32(fixture.layout.count)), context)
        #expect(logits.shape == fixture.reference["logits"].shape)
        #expect(relativeError(logits.floats(), fixture.reference["logits"].floats) < 2e-6)
        let noise = try model.predictedNoise(hidden, imageStarts: fixture.layout.imageStarts, context)
        #expect(relativeError(noise, fixture.reference["noise_prediction"].floats) < 2e-6)
    }

    @Test func aPackedModelComputesTheSame() throws {
        let configuration = ModelConfiguration(
            layers: 2, width: 64, heads: 2, feedForward: 96, vocabulary: 40, patchSize: 2, imageChannels: 3,
            imageHeight: 6, imageWidth: 4, beginOfText: 1, endOfText: 2, beginOfImage: 38, endOfImage: 39)
        let context = Context(pool: ThreadPool(threads: 2), type: .bf16)
        let model = TransfusionModel(configuration, context)
        model.parameters.initialize(seed: 7)
        let layout = try RowLayout(
            tokens: [1] + (0..<20).map { Int32(3 + $0) }, documentStarts: [0], imageStarts: [],
            patchesPerImage: configuration.patchesPerImage, beginOfImage: 38, endOfImage: 39)
        func hidden() throws -> [Float] {
            try model.hiddenStates(
                tokens: layout.tokens, images: nil, imageStarts: [], rows: AttentionRows(layout, context), context
            ).rows.floats()
        }
        let plain = try hidden()
        model.pack(context)
        #expect(try hidden() == plain)
    }

    @Test(arguments: ["model", "model_options"], TransfusionModel.Recomputation.allCases)
    func lossesAndGradientsAgreeWithPyTorch(folder: String, recomputation: TransfusionModel.Recomputation) throws {
        let fixture = try ModelFixture(folder), context = Context.forTests()
        let model = try fixture.model(context, recomputation: recomputation)
        let weights = fixture.lossWeights
        let losses = try context.record {
            try model.losses(fixture.layout, images: fixture.images(context), weights: weights, context)
        }
        try context.backward()
        let text = losses.text * weights.text, image = losses.image / Double(fixture.layout.imageCount)
        #expect(abs(text / Double(fixture.reference.scalar("loss_text")) - 1) < 1e-6)
        #expect(abs(image / Double(fixture.reference.scalar("loss_image")) - 1) < 1e-6)
        let total = text + weights.image * losses.image
        #expect(abs(total / Double(fixture.reference.scalar("loss")) - 1) < 1e-6)
        for parameter in model.parameters.parameters {
            let expected = fixture.reference["grad.\(parameter.name)"].floats
            #expect(relativeError(parameter.gradientFloats, expected) < 1e-5, "\(parameter.name)")
        }
    }

    @Test(arguments: ["model", "model_options"]) func bf16StaysClose(folder: String) throws {
        let fixture = try ModelFixture(folder), context = Context.forTests(.bf16)
        let model = try fixture.model(context)
        let weights = fixture.lossWeights
        let losses = try context.record {
            try model.losses(fixture.layout, images: fixture.images(context), weights: weights, context)
        }
        try context.backward()
        #expect(abs(losses.text * weights.text / Double(fixture.reference.scalar("loss_text")) - 1) < 1e-2)
        #expect(
            abs(losses.image / Double(fixture.layout.imageCount) / Double(fixture.reference.scalar("loss_image")) - 1)
                < 1e-2)
        for parameter in model.parameters.parameters {
            let expected = fixture.reference["grad.\(parameter.name)"].floats
            #expect(relativeError(parameter.gradientFloats, expected) < 6e-2, "\(parameter.name)")
        }
    }

    /// Both passes run the same operations on the same numbers.
    @Test(arguments: computingTypes) func recomputationChangesNoBit(type: ElementType) throws {
        let fixture = try ModelFixture("model"), context = Context.forTests(type)
        let gradients = try TransfusionModel.Recomputation.allCases.map { recomputation in
            let model = try fixture.model(context, recomputation: recomputation)
            _ = try context.record {
                try model.losses(
                    fixture.layout, images: fixture.images(context), weights: fixture.lossWeights, context)
            }
            try context.backward()
            return try #require(model.parameters.gradients).floats()
        }
        #expect(gradients[0].contains { $0 != 0 })
        #expect(gradients.allSatisfy { $0 == gradients[0] })
    }

    @Test func everyParameterIsReportedOnceItsGradientIsComplete() throws {
        let fixture = try ModelFixture("model"), context = Context.forTests()
        let model = try fixture.model(context)
        var ready: [String: [Float]] = [:]
        context.parameterIsReady = { parameter in
            #expect(ready[parameter.name] == nil, "\(parameter.name) was reported twice")
            ready[parameter.name] = parameter.gradientFloats
        }
        _ = try context.record {
            try model.losses(fixture.layout, images: fixture.images(context), weights: fixture.lossWeights, context)
        }
        try context.backward()
        for parameter in model.parameters.parameters {
            #expect(ready[parameter.name] == parameter.gradientFloats, "\(parameter.name)")
        }
    }

    @Test func textAloneNeedsNoImages() throws {
        let fixture = try ModelFixture("model"), context = Context.forTests()
        let model = try fixture.model(context)
        let layout = try RowLayout(
            tokens: [1, 5, 6, 2], documentStarts: [0], imageStarts: [], patchesPerImage: 16, beginOfImage: 95,
            endOfImage: 96)
        var ready = Set<String>()
        context.parameterIsReady = { ready.insert($0.name) }
        let losses = try context.record {
            try model.losses(
                layout, images: nil, weights: .init(targets: 3, images: 0, imageLossWeight: 5), context)
        }
        try context.backward()
        #expect(losses.text > 0 && losses.image == 0)
        let image = model.parameters.parameters.filter { $0.name.hasPrefix("patch_") }
        #expect(!image.isEmpty && image.allSatisfy { $0.gradientFloats.allSatisfy { $0 == 0 } })
        #expect(try #require(model.parameters["lm_head.weight"]).gradientFloats.contains { $0 != 0 })
    }

    /// Rows computed piece by piece against cached keys equal the whole batch at once.
    @Test(arguments: ["model", "model_options"]) func aCacheChangesNothing(folder: String) throws {
        let fixture = try ModelFixture(folder), context = Context.forTests()
        let model = try fixture.model(context)
        let layout = fixture.layout, images = fixture.batch
        let whole = try model.hiddenStates(
            tokens: layout.tokens, images: fixture.images(context), imageStarts: layout.imageStarts,
            rows: AttentionRows(layout, context), context
        ).rows.floats()
        let cache = KeyValueCache(fixture.configuration, capacity: layout.count + 7, context)
        let perImage = layout.patchesPerImage, imageCount = images["latents"].floats.count / layout.imageCount
        var row = 0
        while row < layout.count {
            let image = layout.imageStarts.firstIndex { Int($0) == row }
            // An image in one piece, as its patches see each other; text one, two or three rows at a time.
            var end = min(row + (image == nil ? 1 + row % 3 : perImage), layout.count)
            if image == nil { end = layout.imageStarts.map { Int($0) }.first { $0 > row && $0 < end } ?? end }
            let noised = image.map { image in
                let part = image * imageCount..<(image + 1) * imageCount
                return NoisedImages(
                    latents: Array(images["latents"].floats[part]), noise: Array(images["noise"].floats[part]),
                    timesteps: [images["timesteps"].integers[image]], schedule: NoiseSchedule(),
                    configuration: fixture.configuration, context)
            }
            // Slots are numbered from 7 to show that they are not rows.
            let rows = AttentionRows(
                positions: Array(layout.positions[row..<end]),
                visibleStart: layout.visibleStart[row..<end].map { $0 + 7 },
                visibleEnd: layout.visibleEnd[row..<end].map { $0 + 7 }, cache: cache,
                slots: (row..<end).map { Int32($0 + 7) }, context)
            let hidden = try model.hiddenStates(
                tokens: Array(layout.tokens[row..<end]), images: noised, imageStarts: image == nil ? [] : [0],
                rows: rows, context)
            let width = fixture.configuration.width
            #expect(relativeError(hidden.rows.floats(), Array(whole[row * width..<end * width])) < 1e-5, "row \(row)")
            row = end
        }
    }

    /// Two sequences in regions of their own, apart in a cache whose other slots were never written.
    @Test func unusedSlotsOfACacheHaveNoInfluence() throws {
        let fixture = try ModelFixture("model"), context = Context.forTests()
        let model = try fixture.model(context)
        let tokens: [[Int32]] = [[1, 5, 6, 7], [1, 9]]
        // The allocator hands out memory as it came back.
        do {
            let dirty = (0..<8).map { _ in context.empty([300, fixture.configuration.width]) }
            for tensor in dirty { tensor.fill(.nan) }
        }
        let cache = KeyValueCache(fixture.configuration, capacity: 300, context)
        let regions: [Int32] = [3, 20]
        for position in 0..<4 {
            let active = tokens.indices.filter { position < tokens[$0].count }
            let slots = active.map { regions[$0] + Int32(position) }
            let rows = AttentionRows(
                positions: active.map { _ in Int32(position) }, visibleStart: active.map { regions[$0] },
                visibleEnd: slots.map { $0 + 1 }, cache: cache, slots: slots, context)
            let hidden = Fixture.Values(
                try model.hiddenStates(
                    tokens: active.map { tokens[$0][position] }, images: nil, imageStarts: [], rows: rows, context
                ).rows)
            for (row, sequence) in active.enumerated() {
                let layout = try RowLayout(
                    tokens: tokens[sequence], documentStarts: [0], imageStarts: [], patchesPerImage: 16,
                    beginOfImage: 95, endOfImage: 96)
                let alone = Fixture.Values(
                    try model.hiddenStates(
                        tokens: layout.tokens, images: nil, imageStarts: [], rows: AttentionRows(layout, context),
                        context
                    ).rows)
                #expect(relativeError(Array(hidden.row(row)), Array(alone.row(position))) < 1e-5)
            }
        }
    }

    @Test func initialWeightsDependOnTheSeedAlone() throws {
        let fixture = try ModelFixture("model")
        func initial(seed: UInt64, _ type: ElementType = .f32) -> [String: [Float]] {
            let context = Context.forTests(type)
            let model = TransfusionModel(fixture.configuration, context)
            model.parameters.initialize(seed: seed)
            return Dictionary(uniqueKeysWithValues: model.parameters.parameters.map { ($0.name, $0.value.floats()) })
        }
        let first = initial(seed: 1)
        #expect(first == initial(seed: 1) && first != initial(seed: 2))
        for (name, values) in initial(seed: 1, .bf16) {
            let isVector = name.contains("norm") || name.hasSuffix("bias")
            #expect(values == (first[name] ?? []).map { isVector ? $0 : BFloat16($0).float }, "\(name)")
        }
        #expect(first["model.norm.weight"]?.allSatisfy { $0 == 1 } == true)
        #expect(first["patch_decoder.projection.bias"]?.allSatisfy { $0 == 0 } == true)
        // No two tensors share their random numbers.
        let beginnings = first.values.filter { $0[0] != 0 && $0[0] != 1 }.map { $0[0] / $0[1] }
        #expect(Set(beginnings).count == beginnings.count)
    }
}
