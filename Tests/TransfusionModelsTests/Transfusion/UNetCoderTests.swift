import Foundation
import Testing
import _TestUtilities

@testable import TransfusionCore
@testable import TransfusionModels

/// A model with a U-Net, a batch, and what diffusers' blocks make of them in PyTorch.
private struct UNetFixture {
    let configuration: ModelConfiguration
    let reference: Fixture
    let layout: RowLayout

    init(_ name: String) throws {
        let data = try Data(contentsOf: URL(filePath: Fixtures.path("unet/\(name).json")))
        configuration = try JSONDecoder().decode(ModelConfiguration.self, from: data)
        reference = .whole("unet/\(name).safetensors")
        layout = try RowLayout(
            tokens: reference["batch.tokens"].integers, documentStarts: reference["batch.document_starts"].integers,
            imageStarts: reference["batch.image_starts"].integers, patchesPerImage: configuration.patchesPerImage,
            beginOfImage: configuration.beginOfImage, endOfImage: configuration.endOfImage)
    }

    func model(
        _ context: Context, recomputation: TransfusionModel.Recomputation = .none
    ) -> TransfusionModel {
        let model = TransfusionModel(configuration, context, recomputation: recomputation) {
            Tensor([$0], .f32, allocator: context.allocator)
        }
        for (number, parameter) in model.parameters.parameters.sorted(by: { $0.name < $1.name }).enumerated() {
            let values = Self.weights(parameter.name, parameter.globalShape, number: number + 1)
            values.withUnsafeBufferPointer { parameter.writeMaster($0, at: 0) }
        }
        return model
    }

    /// The rule of `weights` in Tests/Fixtures/unet.py.
    private static func weights(_ name: String, _ shape: [Int], number: Int) -> [Float] {
        let fan = name == "model.embed_tokens.weight" ? 1 : shape.dropFirst().reduce(1, *)
        let scale = shape.count > 1 ? Float((3 / Double(fan)).squareRoot()) : 0.2
        let isNorm = shape.count == 1 && name.contains("norm") && name.hasSuffix("weight")
        return (0..<shape.reduce(1, *)).map { element in
            let value = uniform(UInt64(number) << 32 + UInt64(element))
            return isNorm ? 1 + 0.3 * value : scale * value
        }
    }

    private static func uniform(_ place: UInt64) -> Float {
        var z = place &* 0x9E37_79B9_7F4A_7C15
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return Float((z ^ (z >> 31)) >> 40) / Float(1 << 23) - 1
    }

    func images(_ context: Context) -> NoisedImages {
        NoisedImages(
            latents: reference["batch.latents"].floats, noise: reference["batch.noise"].floats,
            timesteps: reference["batch.timesteps"].integers, schedule: NoiseSchedule(), configuration: configuration,
            context)
    }

    var weights: TransfusionModel.LossWeights {
        TransfusionModel.LossWeights(targets: layout.targetCount, images: layout.imageCount, imageLossWeight: 5)
    }

    /// The losses of the batch, divided by what they are of, after a backward pass.
    func trained(_ model: TransfusionModel, _ context: Context) throws -> (text: Double, image: Double) {
        let losses = try context.record {
            try model.losses(layout, images: images(context), weights: weights, context)
        }
        try context.backward()
        return (losses.text * weights.text, losses.image / Double(layout.imageCount))
    }

    /// How far a gradient is from the reference: of its sampled elements, and of its norm.
    func error(_ parameter: Parameter) -> Double {
        let gradient = parameter.gradientFloats, expected = reference["sample.\(parameter.name)"].floats
        let samples = stride(from: 0, to: gradient.count, by: max(1, gradient.count / 192)).map { gradient[$0] }
        let norm = gradient.reduce(0) { $0 + Double($1) * Double($1) }.squareRoot()
        let expectedNorm = Double(reference.scalar("norm.\(parameter.name)"))
        // A gradient that is zero but for rounding has no direction.
        guard expectedNorm > 1e-8 else { return norm < 1e-5 ? 0 : .infinity }
        return max(relativeError(samples, expected), abs(norm / expectedNorm - 1))
    }
}

@Suite struct UNetCoderTests {
    @Test(arguments: ["two", "four"]) func predictionsAgreeWithDiffusers(name: String) throws {
        let fixture = try UNetFixture(name), context = Context.forTests()
        let model = fixture.model(context)
        let hidden = try model.hiddenStates(fixture.layout, images: fixture.images(context), context)
        let logits = try model.logits(hidden, rows: Array(0..<Int32(fixture.layout.count)), context)
        #expect(relativeError(logits.floats(), fixture.reference["logits"].floats) < 1e-5)
        let noise = try model.predictedNoise(hidden, imageStarts: fixture.layout.imageStarts, context)
        #expect(relativeError(noise, fixture.reference["noise_prediction"].floats) < 1e-5)
    }

    @Test(arguments: ["two", "four"], TransfusionModel.Recomputation.allCases)
    func gradientsAgreeWithDiffusers(name: String, recomputation: TransfusionModel.Recomputation) throws {
        let fixture = try UNetFixture(name), context = Context.forTests()
        let model = fixture.model(context, recomputation: recomputation)
        let losses = try fixture.trained(model, context)
        #expect(abs(losses.text / Double(fixture.reference.scalar("loss_text")) - 1) < 1e-5)
        #expect(abs(losses.image / Double(fixture.reference.scalar("loss_image")) - 1) < 1e-5)
        for parameter in model.parameters.parameters {
            #expect(fixture.error(parameter) < 1e-4, "\(parameter.name)")
        }
    }

    @Test func bf16StaysClose() throws {
        let fixture = try UNetFixture("two"), context = Context.forTests(.bf16)
        let losses = try fixture.trained(fixture.model(context), context)
        #expect(abs(losses.text / Double(fixture.reference.scalar("loss_text")) - 1) < 1e-2)
        #expect(abs(losses.image / Double(fixture.reference.scalar("loss_image")) - 1) < 2e-2)
    }

    @Test(arguments: computingTypes) func recomputationChangesNoBit(type: ElementType) throws {
        let fixture = try UNetFixture("two"), context = Context.forTests(type)
        let gradients = try [TransfusionModel.Recomputation.none, .full].map {
            let model = fixture.model(context, recomputation: $0)
            _ = try fixture.trained(model, context)
            return try #require(model.parameters.gradients).floats()
        }
        #expect(gradients[0].contains { $0 != 0 })
        // As a value: a difference of so many elements takes longer to show than to find.
        let isSame = gradients[0] == gradients[1]
        #expect(isSame)
    }

    /// Both branches of guidance begin with images that are encoded once.
    @Test func imagesInSeveralSequencesAreEncodedOnce() throws {
        let fixture = try UNetFixture("two"), context = Context.forTests(), patches = fixture.layout.patchesPerImage
        let model = fixture.model(context)
        let images = fixture.images(context), copies = 2 * images.count
        let layout = try RowLayout(
            tokens: [Int32](repeating: -1, count: copies * patches),
            documentStarts: (0..<copies).map { Int32($0 * patches) },
            imageStarts: (0..<copies).map { Int32($0 * patches) }, patchesPerImage: patches,
            beginOfImage: fixture.configuration.beginOfImage, endOfImage: fixture.configuration.endOfImage)
        let hidden = try model.hiddenStates(
            tokens: Array(layout.tokens.prefix(images.count * patches)), images: images,
            imageStarts: Array(layout.imageStarts.prefix(images.count)), rows: AttentionRows(layout, context), context)
        let noise = try model.predictedNoise(hidden, imageStarts: layout.imageStarts, context)
        let half = noise.count / 2
        #expect(noise.count == 2 * fixture.reference["batch.noise"].floats.count)
        #expect(Array(noise[..<half]) == Array(noise[half...]))
    }

    /// The figures of docs/method.md, as `unet.py --count` prints them of diffusers' blocks.
    @Test(
        arguments: zip(
            ModelPreset.allCases.dropFirst(), [261_312_264, 261_836_808, 262_885_896, 263_934_984, 268_131_336]))
    func itHasThePapersSize(preset: ModelPreset, expected: Int) {
        func count(_ coder: ModelConfiguration.PatchCoder) -> Int {
            TransfusionModel.parameters(Self.model(preset, coder)).filter { $0.name.hasPrefix("patch_") }
                .reduce(0) { $0 + $1.globalCount }
        }
        #expect(count(.unet) == expected)
        #expect(count(.linear) < expected / 10)
    }

    @Test func smallModelsHaveSmallOnes() {
        let tiny = Self.model(.tiny, .unet)
        #expect(tiny.unetChannels == 64)
        #expect(TransfusionModel.parameterCount(tiny) < 9_000_000)
    }

    @Test func aDescriptionHasItsSizes() throws {
        var configuration = Self.model(.tiny, .unet)
        configuration.unetChannels = 96
        let json = try JSONEncoder().encode(configuration)
        #expect(try JSONDecoder().decode(ModelConfiguration.self, from: json) == configuration)
        configuration.unetChannels = 64
        #expect(configuration == Self.model(.tiny, .unet))
        let plain = String(decoding: try JSONEncoder().encode(Self.model(.tiny, .linear)), as: UTF8.self)
        #expect(!plain.contains("patch_coder") && !plain.contains("unet"))
    }

    @Test func impossibleOnesAreRefused() {
        func problem(_ change: (inout ModelConfiguration) -> Void) -> String? {
            var configuration = Self.model(.tiny, .unet)
            change(&configuration)
            return configuration.problems().first?.description
        }
        #expect(problem { _ in } == nil)
        #expect(problem { $0.imageHeight = 31 } == "model.patch: a patch of 2 does not divide an image of 31 × 32")
        #expect(
            problem { ($0.patchSize, $0.imageHeight, $0.imageWidth) = (6, 24, 24) }?.hasPrefix(
                "model.patch: a U-Net halves") == true)
        #expect(problem { $0.unetChannels = 48 }?.hasPrefix("model.unet_channels: must be a multiple of 32") == true)
        #expect(problem { $0.timestepAfterProjection = true }?.hasPrefix("model.timestep_after_projection") == true)
    }

    private static func model(_ preset: ModelPreset, _ coder: ModelConfiguration.PatchCoder) -> ModelConfiguration {
        let sizes = preset.sizes
        var configuration = ModelConfiguration(
            layers: sizes.layers, width: sizes.width, heads: sizes.heads, feedForward: sizes.feedForward,
            vocabulary: 1000, patchSize: 2, imageChannels: 8, imageHeight: 32, imageWidth: 32, beginOfText: 1,
            endOfText: 2, beginOfImage: 998, endOfImage: 999)
        configuration.patchCoder = coder
        return configuration
    }
}
