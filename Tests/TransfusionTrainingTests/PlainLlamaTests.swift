import Foundation
import Testing
import TransfusionCheckpoint
import TransfusionConfig
import TransfusionCore
import TransfusionInference
import TransfusionModels
import TransfusionParallel
import TransfusionTelemetry
import _TestUtilities

@testable import TransfusionTraining

/// A model without images (`model.images: none`) from training to sampling.
@Suite struct PlainLlamaTests {
    private let run: TrainingRun
    private let set = ["model.images=none"]

    init() throws { run = try TrainingRun(hasValidation: true) }

    @Test(.timeLimit(.minutes(2))) func trainsOnTextAndGoesOnWithTheSameBits() throws {
        let set = set + ["parallel.reduction=elastic", "evaluation.every_steps=10", "evaluation.sequences=4"]
        try run.train("whole", set: set)
        for (step, ranks) in [(7, 1), (13, 4), (20, 2)] {
            try run.train("parts", ranks: ranks, lastStep: step, set: set)
        }
        #expect(try run.tensors("parts", step: 20) == run.tensors("whole", step: 20))
        let records = try run.records("whole")
        #expect(records.allSatisfy { $0.images == 0 && $0.loss == $0.losses["text"] && $0.losses.count == 1 })
        #expect(records.allSatisfy { $0.tokens == $0.step * 8 * 64 && $0.textToImageRatio.isNaN && $0.padding == 0 })
        #expect(records[19].loss < records[0].loss)
        #expect(records[9].validation?.losses.keys.sorted() == ["text"])
        let names = try run.tensors("whole", step: 20).keys.filter { !$0.hasPrefix("optimizer.") }
        #expect(names.count == 2 * 9 + 3 && !names.contains { $0.contains("patch") }, "\(names.sorted())")
        // What only a split model exchanges makes no other model of it.
        try run.train("split", ranks: 2, set: set + ["parallel.tensor=2"])
        #expect(largestRelativeDifference(try run.losses("split"), try run.losses("whole")) < 1e-5)
    }

    @Test(.timeLimit(.minutes(2))) func itsCheckpointIsReadConvertedAndSampled() throws {
        try run.train("run", lastStep: 2, set: set)
        let path = run.path("run").path
        let archive = try ModelArchive(path)
        #expect(archive.configuration.images == .none)
        let weights = try WeightFormat(detectedAt: path).open(path)
        let llama = run.directory.file("llama"), plain = run.directory.file("safetensors")
        try WeightFormat.huggingFaceLlama.write(weights, to: llama)
        try WeightFormat.safetensors.write(weights, to: plain)
        // Nothing of an image in the description either.
        let description = try String(contentsOfFile: plain + "/config.json", encoding: .utf8)
        #expect(description.contains("\"images\"") && !description.contains("patch") && !description.contains("image_"))
        #expect(try WeightFormat(detectedAt: plain) == .safetensors)
        #expect(try WeightFormat(detectedAt: llama) == .huggingFaceLlama)
        let file = try SafetensorsFile(llama + "/model.safetensors")
        #expect(file.entries.count == 2 * 9 + 3 && !file.entries.contains { $0.name.contains("patch") })
        for (directory, format) in [(llama, WeightFormat.huggingFaceLlama), (plain, .safetensors)] {
            let back = directory + "-back"
            try WeightFormat.checkpoint.write(try format.open(directory), to: back)
            let read = try ModelArchive(back)
            #expect(read.configuration == archive.configuration)
            #expect(try floats(read) == floats(archive), "\(directory)")
        }

        var request = TextRequest(model: LoadedModel.Request(checkpoint: path), prompts: .one("text"))
        request.text.maximumTokens = 8
        let continuation = try #require(try request.run().first)
        #expect(continuation.parts.allSatisfy { $0.image == nil })
        request.maximumImages = 1
        request.output = run.directory.file("pictures")
        #expect { try request.run() } throws: { "\($0)".contains("is a model without images") }
    }

    private func floats(_ archive: ModelArchive) throws -> [String: [Float]] {
        let model = TransfusionModel(archive.configuration, Context(pool: ThreadPool(threads: 1), type: .f32))
        try archive.load(into: model.parameters)
        return Dictionary(uniqueKeysWithValues: model.parameters.parameters.map { ($0.name, $0.value.floats()) })
    }

    @Test(.timeLimit(.minutes(2))) func aLlamaStartsOneWithoutImages() throws {
        try run.train("first", lastStep: 3, set: set)
        let path = run.path("first").path, llama = run.directory.file("llama")
        try WeightFormat.huggingFaceLlama.write(WeightFormat(detectedAt: path).open(path), to: llama)
        // As from elsewhere, without what only this program writes.
        try FileManager.default.removeItem(atPath: llama + "/transfusion.safetensors")
        for (name, weights) in [("run", path), ("converted", llama)] {
            try run.train(name, lastStep: 1, set: set + ["model.initial_weights=\(weights)"])
            #expect(try !run.tensors(name, step: 1).keys.contains { $0.contains("patch") })
        }
        #expect {
            try run.train("images", lastStep: 1, set: ["model.initial_weights=\(path)"])
        } throws: { "\($0)".contains("has model.images none, the run diffusion") }
    }

    @Test func whatNeedsImagesIsRefused() throws {
        func refusal(_ overrides: String...) -> String {
            do {
                try run.train("refused", lastStep: 1, set: overrides)
                return "nothing was refused"
            } catch {
                return "\(error)"
            }
        }
        #expect(refusal("model.images=words").contains("model.images: must be one of"))
        let samples = refusal("model.images=none", "samples.every_steps=1", "samples.prompts=[red]")
        #expect(samples.contains("samples.every_steps: a model without images"))
    }
}
