import Foundation
import Testing
import TransfusionCore
import _TestUtilities

@testable import TransfusionModels

@Suite struct AutoencoderTests {
    /// The paper prints 86M, which does not count the codebook; all are what diffusers counts.
    @Test(arguments: [
        (AutoencoderPreset.paper, AutoencoderConfiguration.Kind.kl, 85_964_435),
        (.paper, .vq, 85_962_379 + 16_384 * 8), (.sd, .kl, 83_653_863),
    ])
    func hasAsManyParameters(
        _ preset: AutoencoderPreset, _ kind: AutoencoderConfiguration.Kind, _ count: Int
    ) {
        let configuration = preset.configuration(kind)
        #expect(configuration.problems().isEmpty)
        #expect(Autoencoder.parameterCount(configuration) == count)
    }

    @Test(arguments: AutoencoderPreset.allCases, AutoencoderConfiguration.Kind.allCases)
    func isWhatItsDescriptionSays(_ preset: AutoencoderPreset, _ kind: AutoencoderConfiguration.Kind) throws {
        var configuration = preset.configuration(kind)
        configuration.pictureSize = 64
        if kind == .vq { configuration.codeNorm = .l2 }
        let json = try JSONEncoder().encode(configuration)
        #expect(try JSONDecoder().decode(AutoencoderConfiguration.self, from: json) == configuration)
    }

    /// What recording keeps and what backward computes, without a number: three passes' worth of products.
    @Test func trainingCostsThreeTimesTheForwardPass() throws {
        let context = Context(
            pool: ThreadPool(threads: 1), type: .bf16, allocator: CachingAllocator(isSizesOnly: true))
        let configuration = AutoencoderPreset.paper.configuration(.kl)
        let model = Autoencoder(configuration, context) { Tensor([$0], .f32, allocator: context.allocator) }
        func pass() throws {
            let pictures = context.pictures([], [1, 3, 256, 256])
            let target = context.pictures([], [1, 3, 256, 256], .f32)
            let result = context.record {
                model.reconstruct(
                    pictures, target: target, noise: nil,
                    scales: Autoencoder.LossScales(absoluteError: 1, latentError: 1), context)
            }
            #expect(result.reconstruction.shape == [1, 256, 256, 3] && result.latents.shape == [1, 32, 32, 8])
            let forward = context.work.operations
            // 275 GFLOP for the encoder and 625 for the decoder.
            #expect(abs(forward / 900e9 - 1) < 0.02)
            try context.backward()
            #expect(abs(context.work.operations / forward - 3) < 0.01)
        }
        try pass()
    }

    @Test func impossibleOnesAreNamed() {
        var configuration = AutoencoderPreset.small.configuration(.kl)
        configuration.groups = 24
        #expect(
            configuration.problems() == ["24 groups do not divide a level of 32 channels"]
                + Array(
                    repeating: "24 groups do not divide a level of 64 channels", count: 2))
        configuration = AutoencoderPreset.paper.configuration(.kl)
        configuration.projectsFromLatents = false
        #expect(
            configuration.problems()
                == ["8 channels become features of 256 by a projection only"])
        configuration = AutoencoderPreset.small.configuration(.kl)
        configuration.levels = [1 << 40]
        #expect(configuration.problems() == ["a level must have 1 to 8192 channels, not \(1 << 40)"])
    }

    @Test(arguments: [
        (
            #""_class_name": "AutoencoderTiny""#, "_class_name",
            "is AutoencoderTiny; AutoencoderKL and VQModel are known"
        ),
        (
            #""_class_name": "AutoencoderKL", "act_fn": "relu""#, "act_fn", "is relu; silu is known"
        ),
        (
            #""_class_name": "VQModel", "norm_type": "spatial""#, "norm_type", "is spatial; group is known"
        ),
        (
            #""_class_name": "AutoencoderKL", "down_block_types": ["AttnDownEncoderBlock2D"]"#, "down_block_types",
            "has a AttnDownEncoderBlock2D; only DownEncoderBlock2D is known"
        ),
        (
            #""_class_name": "VQModel", "code_norm": "cosine""#, "code_norm", "is cosine; none and l2 are known"
        ),
        (
            #""_class_name": "AutoencoderKL", "latents_mean": [1.0]"#, "latents_mean",
            "gives each channel its own scale; scaling_factor and shift_factor are known"
        ),
    ])
    func unknownDescriptionsAreRefusedByName(_ fields: String, _ key: String, _ problem: String) throws {
        let error = #expect(throws: DecodingError.self) {
            try JSONDecoder().decode(AutoencoderConfiguration.self, from: Data("{\(fields)}".utf8))
        }
        guard case .dataCorrupted(let context) = error else {
            Issue.record("\(String(describing: error))")
            return
        }
        #expect(context.codingPath.last?.stringValue == key && context.debugDescription == problem)
    }
}
