import Testing
import TransfusionCore
import TransfusionModels
import _TestUtilities

@testable import TransfusionCheckpoint

/// Networks of losses with few channels, as PyTorch computes them, out of files with the names that such files have.
@Suite struct FeatureWeightsTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    /// Writes the weights of a fixture under names of their own.
    private func write(
        _ fixture: Fixture, _ file: String, _ name: (String) -> String? = { $0 }
    ) throws -> String {
        let path = directory.file(file)
        let tensors = fixture.values.sorted { $0.key < $1.key }.compactMap { key, values -> SafetensorsTensor? in
            guard key.hasPrefix("weight."), let name = name(String(key.dropFirst("weight.".count))) else { return nil }
            return SafetensorsTensor(name, .f32, values.shape, values.floats)
        }
        try SafetensorsWriter().write(tensors, metadata: [:], to: path)
        return path
    }

    private func perceptual(_ fixture: Fixture, _ context: Context) -> PerceptualNetwork {
        PerceptualNetwork(context, channels: fixture["channels"].floats.map { Int($0) })
    }

    private func identity(_ fixture: Fixture, _ context: Context) -> IdentityNetwork {
        IdentityNetwork(
            context,
            IdentityNetwork.Configuration(
                width: Int(fixture.scalar("width")), depths: fixture["depths"].floats.map { Int($0) },
                side: Int(fixture.scalar("side"))))
    }

    private func expectAgreement(
        _ network: some FeatureNetwork, _ fixture: Fixture, _ context: Context, tolerance: Double
    ) throws {
        // With 8 bits, activations near zero fall on the other side, and their whole gradients with them.
        let slopeTolerance = context.type == .f32 ? 2 * tolerance : 0.5
        func pictures(_ name: String) -> Tensor { context.pictures(fixture[name].floats, fixture[name].shape) }
        let x = pictures("x")
        let found = context.record { network.distances(x, from: pictures("y"), scale: 1, context) }
        #expect(relativeError(found.map(Float.init), fixture["distances"].floats) < tolerance)
        let dx = try #require(try context.backward()[x])
        #expect(relativeError(context.channelsFirst(dx), fixture["dx"].floats) < slopeTolerance)
        let alone = network.distances(x, from: pictures("y"), scale: 1, context)
        #expect(alone == found)
    }

    @Test(arguments: [(ElementType.f32, 1e-5), (.bf16, 0.05)])
    func lpipsAgreesWithPyTorch(_ type: ElementType, _ tolerance: Double) throws {
        let fixture = Fixture.one("perceptual", "perceptual"), context = Context.forTests(type)
        let network = perceptual(fixture, context)
        try FeatureWeights(try write(fixture, "all.safetensors")).load(into: network, heads: nil)
        try expectAgreement(network, fixture, context, tolerance: tolerance)
    }

    @Test(arguments: [(ElementType.f32, 2e-5), (.bf16, 0.1)])
    func identityLossAgreesWithPyTorch(_ type: ElementType, _ tolerance: Double) throws {
        let fixture = Fixture.one("perceptual", "identity"), context = Context.forTests(type)
        let network = identity(fixture, context)
        let path = try write(fixture, "moco.safetensors") { "module.encoder_q." + $0 }
        try FeatureWeights(path).load(into: network)
        try expectAgreement(network, fixture, context, tolerance: tolerance)
    }

    /// torchvision and lpips, and Latent Diffusion, name the same weights in other ways.
    @Test func weightsAreFoundUnderTheirNames() throws {
        let fixture = Fixture.one("perceptual", "perceptual"), context = Context.forTests()
        let features = try write(fixture, "vgg.safetensors") { $0.hasPrefix("features") ? $0 : nil }
        let heads = try write(fixture, "heads.safetensors") { $0.hasPrefix("lin") ? $0 : nil }
        let latentDiffusion = try write(fixture, "ldm.safetensors") { name in
            let parts = name.split(separator: ".")
            return "loss.perceptual_loss."
                + (name.hasPrefix("lin") ? name : "net.slice2.\(parts[1]).\(parts[2])")
        }
        let expected = perceptual(fixture, context)
        try FeatureWeights(features).load(into: expected, heads: try FeatureWeights(heads))
        let found = perceptual(fixture, context)
        try FeatureWeights(latentDiffusion).load(into: found, heads: nil)
        #expect(found.parameters.matrices.floats() == expected.parameters.matrices.floats())
        #expect(found.parameters.vectors.floats() == expected.parameters.vectors.floats())
        #expect(try FeatureWeights(features).digest.count == 64)
    }

    @Test func otherWeightsAreRefusedInOneLine() throws {
        let fixture = Fixture.one("perceptual", "perceptual"), context = Context.forTests()
        func problem(_ body: () throws -> Void) -> String? {
            do {
                try body()
                return nil
            } catch { return "\(error)" }
        }
        let features = try write(fixture, "vgg.safetensors") { $0.hasPrefix("features") ? $0 : nil }
        #expect(
            problem { try FeatureWeights(features).load(into: perceptual(fixture, context), heads: nil) }
                == "\(features): is not LPIPS (lin0 to lin4): it has no tensor lin0.model.1.weight")
        #expect(
            problem { try FeatureWeights(features).load(into: PerceptualNetwork(context), heads: nil) }
                == "\(features): is not VGG-16 of torchvision: tensor features.0.weight has the shape [3, 3, 3, 3], not "
                + "[64, 3, 3, 3]")
        #expect(
            problem { try FeatureWeights(features).load(into: IdentityNetwork(context)) }
                == "\(features): is not ResNet-50 of MoCo v2: it has no tensor conv1.weight")
        #expect(problem { _ = try FeatureWeights(directory.file("none.safetensors")) } != nil)
    }

    /// What torchvision counts, without the classifiers; batch normalisations have two vectors, of which one is left.
    @Test func networksHaveTheSizesOfTheirOriginals() {
        let context = Context(
            pool: ThreadPool(threads: 1), type: .f32, allocator: CachingAllocator(isSizesOnly: true))
        #expect(PerceptualNetwork(context).parameters.globalCount == 14_714_688 + 1472)
        #expect(IdentityNetwork(context).parameters.globalCount == 23_508_032 - 26_560)
    }
}
