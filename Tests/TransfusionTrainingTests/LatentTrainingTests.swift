import Foundation
import Testing
import TransfusionCheckpoint
import TransfusionConfig
import TransfusionData
import TransfusionInference
import TransfusionModels
import _TestUtilities

@testable import TransfusionTraining

/// From pictures to latents, a run on them, and back to pictures.
@Suite struct LatentTrainingTests {
    private let run: TrainingRun
    private let latents: String

    init() throws {
        run = try TrainingRun()
        latents = run.directory.file("latents")
        var encoding = DatasetEncoding(
            dataset: run.dataset.path, autoencoder: Fixtures.path("autoencoder/kl"), output: latents)
        encoding.element = .f32
        _ = try encoding.run()
    }

    private var set: [String] {
        ["data.path=\(latents)", "schedule.steps=2", "schedule.warmup_steps=1", "samples.every_steps=2"]
            + ["samples.prompts=[red circle 1]", "samples.diffusion_steps=2"]
    }

    private func image(_ name: String, autoencoder: String? = nil) throws -> Picture {
        var model = LoadedModel.Request(checkpoint: run.path(name).path)
        model.precision = .f32
        model.autoencoder = autoencoder
        let out = run.directory.file("drawn-\(UUID()).png")
        var request = ImageRequest(model: model, prompts: .one("red circle 1"), output: out)
        request.settings.steps = 2
        _ = try request.run()
        return try PictureFile.read(out)
    }

    private func problem(_ body: () throws -> Void) -> String {
        do {
            try body()
            return "none"
        } catch {
            return "\(error)"
        }
    }

    @Test(.timeLimit(.minutes(5))) func aRunOnLatentsMakesPictures() throws {
        try run.train("run", set: set)
        let directory = run.path("run")
        let sample = try PictureFile.read(directory.samples + "/step-00000002/000000.png")
        #expect((sample.width, sample.height) == (8, 8))
        let digest = try AutoencoderWeights(Fixtures.path("autoencoder/kl")).digest()
        #expect(try AutoencoderWeights(directory.path).digest() == digest)
        #expect(try Checkpoint(directory.checkpoints + "/step-00000002").metadata.autoencoder == digest)
        // The run has all that it needs, wherever its data went.
        try FileManager.default.removeItem(atPath: latents)
        let drawn = try image("run")
        #expect((drawn.width, drawn.height) == (8, 8))

        let picture = run.directory.file("given.png")
        let given = Picture(width: 20, height: 16, filled: SIMD3(200, 30, 30))
        try Data(try PNG.encode(rgb: given.rgb, width: 20, height: 16)).write(to: URL(filePath: picture))
        var caption = CaptionRequest(model: LoadedModel.Request(checkpoint: directory.path), pictures: [picture])
        caption.text.maximumTokens = 3
        #expect(try caption.run().map(\.file) == [picture])
    }

    @Test(.timeLimit(.minutes(5))) func latentsAreNotTakenForOthers() throws {
        try run.train("run", set: set)
        let copy = run.path("run").path + "/autoencoder.safetensors"
        let other = run.directory.file("other.safetensors")
        var bytes = try Data(contentsOf: URL(filePath: copy))
        bytes[bytes.count - 2] ^= 64
        try bytes.write(to: URL(filePath: other))
        try FileManager.default.createDirectory(atPath: run.directory.file("other"), withIntermediateDirectories: true)
        try FileManager.default.moveItem(atPath: other, toPath: run.directory.file("other/autoencoder.safetensors"))
        let wrong = problem { _ = try image("run", autoencoder: run.directory.file("other")) }
        #expect(
            wrong.contains("has latents of the autoencoder ")
                && wrong.hasSuffix("give the right autoencoder"), "\(wrong)")
        var encoding = DatasetEncoding(
            dataset: run.dataset.path, autoencoder: run.directory.file("other"),
            output: run.directory.file("others"))
        encoding.element = .f32
        _ = try encoding.run()
        let sources = "data.sources=[{path: \(latents)}, {path: \(run.directory.file("others"))}]"
        let mixed = problem { try run.train("mixed", set: set + ["data.path=none", sources]) }
        #expect(mixed.contains("make both with one autoencoder by 'tf-data encode'"), "\(mixed)")
        let channels = problem { _ = try image("run", autoencoder: Fixtures.path("autoencoder/vq")) }
        #expect(channels.contains("give the right autoencoder"), "\(channels)")
        try FileManager.default.removeItem(atPath: copy)
        try FileManager.default.removeItem(atPath: latents)
        let missing = problem { _ = try image("run") }
        #expect(
            missing.hasSuffix(
                "no autoencoder is beside the model or its data; give the autoencoder that made them"))
        #expect(try image("run", autoencoder: Fixtures.path("autoencoder/kl")).width == 8)
    }

    @Test func latentsWithoutAutoencoderDrawNoSamples() throws {
        let old = try TrainingRun(channels: 4)
        let refused = problem {
            try old.train(
                "run",
                set: ["schedule.steps=1", "schedule.warmup_steps=1", "samples.every_steps=1", "samples.prompts=[red]"])
        }
        #expect(
            refused.contains("samples.every_steps")
                && refused.contains("make it anew with 'tf-data encode', or turn it off"), "\(refused)")
    }
}
