import Testing
import TransfusionCheckpoint
import TransfusionConfig
import TransfusionCore
import TransfusionData
import TransfusionModels
import _TestUtilities

@testable import TransfusionTraining

@Suite struct PictureLossesTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    private func losses(_ overrides: [String], side: Int = 32) throws -> PictureLosses {
        let configuration = try RunConfiguration(
            yaml: """
                task: autoencoder
                data: {path: x}
                schedule: {steps: 10, warmup_steps: 0}
                batch: {global_sequences: 2}
                """, overrides: overrides)
        return try PictureLosses(
            configuration, DatasetManifest.ImageShape(channels: 3, height: side, width: side, element: .u8),
            Context.forTests())
    }

    /// LPIPS has its weight in the loss and in the gradient, beside the absolute error.
    @Test func termsAddUp() throws {
        let fixture = Fixture.one("perceptual", "perceptual"), context = Context.forTests()
        let network = PerceptualNetwork(context, channels: fixture["channels"].floats.map { Int($0) })
        let path = directory.file("weights.safetensors")
        try SafetensorsWriter().write(
            fixture.values.filter { $0.key.hasPrefix("weight.") }.map {
                SafetensorsTensor(String($0.dropFirst("weight.".count)), .f32, $1.shape, $1.floats)
            }, metadata: [:], to: path)
        try FeatureWeights(path).load(into: network, heads: nil)
        let losses = PictureLosses(terms: [("perceptual", 3, network)])
        #expect(losses.names == ["reconstruction", "perceptual"])
        let x = context.pictures(fixture["x"].floats, fixture["x"].shape)
        let y = context.pictures(fixture["y"].floats, fixture["y"].shape)
        var counts = BatchCounts(images: 2)
        counts.denominators = ["reconstruction": 2, "perceptual": 2]
        let parts = context.record { losses(x, target: y, counts, context) }
        let differences = zip(fixture["x"].floats, fixture["y"].floats).map { $0 - $1 }
        let error = differences.reduce(0.0) { $0 + Double(abs($1)) } / Double(differences.count)
        let distance = fixture["distances"].floats.reduce(0.0) { $0 + Double($1) } / 2
        #expect(abs(parts.loss / (error + 3 * distance) - 1) < 1e-5)
        let dx = try #require(try context.backward()[x])
        let expected = zip(differences, fixture["dx"].floats).map { difference, slope in
            (difference > 0 ? 1 : -1) / Float(differences.count) + 1.5 * slope
        }
        #expect(relativeError(context.channelsFirst(dx), expected) < 5e-5)
    }

    @Test func withoutWeightsATermIsOffAndSaysSo() throws {
        let none = try losses([])
        #expect(none.names == ["reconstruction"] && none.digests.isEmpty)
        #expect(
            none.description == [
                "LPIPS loss: off, as objective.perceptual_network names no weights",
                "identity loss: off, as objective.identity_network names no weights",
            ])
        let zero = try losses(["objective.identity_network=/moco.pth", "objective.identity_weight=0"])
        #expect(zero.description[1] == "identity loss: off, as its weight is 0")
    }

    @Test func whatIsNoNetworkIsRefusedByItsKey() throws {
        let file = directory.file("other.safetensors")
        try SafetensorsWriter().write([SafetensorsTensor("x", .f32, [1], [Float(1)])], metadata: [:], to: file)
        for (key, problem) in [
            ("perceptual", "is not VGG-16 of torchvision: it has no tensor features.0.weight"),
            ("identity", "is not ResNet-50 of MoCo v2: it has no tensor conv1.weight"),
        ] {
            let error = #expect(throws: CommandFailure.self) { try losses(["objective.\(key)_network=\(file)"]) }
            #expect(error?.description.hasPrefix("objective.\(key)_network: \(file): \(problem)") == true)
            #expect(error?.code == .wrongUse && error?.lines.count == 1)
        }
    }

    @Test func aRunGoesOnWithTheSameNetworksOnly() throws {
        let none = try losses([])
        #expect(none.difference { _ in nil } == nil)
        #expect(
            none.difference { $0 == "identity" ? String(repeating: "a", count: 64) : nil }
                == "objective.identity_network: no file is not the sha256 aaaaaaaaaaaa that the run was trained with")
    }
}
