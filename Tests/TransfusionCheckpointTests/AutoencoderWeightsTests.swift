import Foundation
import Testing
import TransfusionCore
import TransfusionModels
import _TestUtilities

@testable import TransfusionCheckpoint

@Suite struct AutoencoderWeightsTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    private func problem(_ body: () throws -> Void) -> String? {
        #expect(throws: CheckpointError.self, performing: body)?.problem
    }

    @Test(arguments: ["kl", "vq"]) func comesBackBitForBit(_ kind: String) throws {
        let source = Fixtures.path("autoencoder/\(kind)")
        let run = directory.file("run"), back = directory.file("back")
        #expect(try AutoencoderWeights(source).writeCheckpoint(to: run).isEmpty)
        let saved = try AutoencoderWeights(run)
        let original = try AutoencoderWeights(source).configuration
        #expect(saved.step == 0 && saved.configuration == original)
        #expect(try saved.writeDiffusers(to: back).isEmpty)
        let name = "/diffusion_pytorch_model.safetensors"
        let first = Fixture.whole("autoencoder/\(kind)" + name), second = Fixture.whole(path: back + name)
        #expect(Set(first.values.keys) == Set(second.values.keys))
        for (name, values) in first.values {
            #expect(values.shape == second[name].shape && values.floats == second[name].floats, "\(name)")
        }
        #expect(try AutoencoderWeights(back).configuration == saved.configuration)
        #expect(
            problem { _ = try saved.writeDiffusers(to: back) } == "already exists; choose another place or remove it")
    }

    /// Latent Diffusion's names, of the autoencoder alone or inside of a whole model, with or without a description.
    @Test func readsLatentDiffusionsNames() throws {
        let ldm = directory.file("ldm")
        try FileManager.default.createDirectory(atPath: ldm, withIntermediateDirectories: false)
        let file = try WeightFile(Fixtures.path("autoencoder/ldm.ckpt"))
        let tensors = file.tensors.map { name, tensor in
            SafetensorsTensor("first_stage_model." + name, .f32, tensor.shape, fill: tensor.read)
        }
        let extra = [SafetensorsTensor("model.diffusion_model.out.2.bias", .f32, [1], [Float(0)])]
        try SafetensorsWriter().write(tensors + extra, to: ldm + "/model.safetensors")
        try FileManager.default.copyItem(
            atPath: Fixtures.path("autoencoder/kl/config.json"), toPath: ldm + "/config.json")
        let expected = try AutoencoderWeights(Fixtures.path("autoencoder/kl"))
        let read = try AutoencoderWeights(ldm + "/model.safetensors")
        #expect(read.configuration == expected.configuration)
        #expect(read.passedOver == ["1 tensors outside of first_stage_model.*"])
        #expect(try read.writeCheckpoint(to: directory.file("a")).isEmpty)
        #expect(try expected.writeCheckpoint(to: directory.file("b")).isEmpty)
        #expect(try TensorComparison(directory.file("a"), directory.file("b")).isEqual)

        try FileManager.default.removeItem(atPath: ldm + "/config.json")
        // Without a description there are 32 groups, which do not divide 8 channels.
        #expect(
            problem { _ = try AutoencoderWeights(ldm + "/model.safetensors") }
                == "describes an impossible autoencoder: 32 groups do not divide a level of 8 channels")
    }

    @Test(arguments: AutoencoderPreset.allCases, AutoencoderConfiguration.Kind.allCases)
    func shapesDescribeAnAutoencoder(_ preset: AutoencoderPreset, _ kind: AutoencoderConfiguration.Kind) throws {
        var expected = preset.configuration(kind)
        expected.latentScale = kind == .kl && expected.latentChannels == 4 ? 0.18215 : 1
        #expect(try AutoencoderConfiguration(shapes: expected.parameterShapes, of: "file") == expected)
    }

    @Test func whatDoesNotFitIsRefusedByName() throws {
        let attention = [
            "encoder.down.1.attn.0.q.weight": SourceTensor.initial("x", [8, 8, 1, 1], .zeros, seed: 0)
        ]
        #expect(
            problem { _ = try AutoencoderNames.diffusers(attention, "file") }
                == "has attention on a level (encoder.down.1.attn.0.q.weight), where diffusers' autoencoders have none")
        #expect(
            problem { _ = try AutoencoderWeights(Fixtures.path("checkpoint/llama")) }?.contains("_class_name") == true)

        let configuration = AutoencoderPreset.paper.configuration(.kl)
        var small = configuration
        small.levels = [32]
        small.blocksPerLevel = 1
        small.featureChannels = 12
        let context = Context(pool: ThreadPool(threads: 1), type: .f32)
        let model = Autoencoder(small, context)
        model.parameters.initialize(seed: 1)
        let pieces = model.parameters.parameters.map { parameter in
            let values = parameter.value.floats()
            return ShardPiece(TensorBox(name: parameter.name, type: .f32, shape: parameter.globalShape)) {
                range, buffer in
                values.withUnsafeBytes { buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[range])) }
            }
        }
        try CheckpointStore(directory.file("run/checkpoints")).save(
            step: 3, metadata: CheckpointMetadata(autoencoder: small), pieces: pieces)
        let weights = try AutoencoderWeights(directory.file("run"))
        #expect(weights.step == 3)
        #expect(
            problem { _ = try weights.writeDiffusers(to: directory.file("out")) }
                == "has z_channels of 12 between its encoder and 8 latent channels, which AutoencoderKL of diffusers cannot hold"
        )
    }

    /// In the place of a safetensors file, alone or in a directory.
    @Test func readsFilesOfPyTorch() throws {
        let folder = directory.file("vae")
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: false)
        try FileManager.default.copyItem(
            atPath: Fixtures.path("autoencoder/kl/config.json"), toPath: folder + "/config.json")
        try FileManager.default.copyItem(
            atPath: Fixtures.path("autoencoder/ldm.ckpt"), toPath: folder + "/diffusion_pytorch_model.bin")
        try Data([1]).write(to: URL(fileURLWithPath: folder + "/optimizer.bin"))
        for place in [folder, folder + "/diffusion_pytorch_model.bin"] {
            let weights = try AutoencoderWeights(place)
            let run = directory.file("run\(place.count)")
            #expect(try weights.writeCheckpoint(to: run).isEmpty)
            let expected = Fixtures.path("autoencoder/kl/diffusion_pytorch_model.safetensors")
            #expect(try TensorComparison(run, expected).isEqual)
        }
    }
}
