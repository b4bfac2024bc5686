import Foundation
import Testing
import TransfusionCheckpoint
import TransfusionConfig
import TransfusionCore
import TransfusionData
import TransfusionInference
import TransfusionModels
import TransfusionParallel
import TransfusionTelemetry
import _TestUtilities

@testable import TransfusionTraining

/// Runs that start from the weights of another model.
@Suite struct InitialWeightsTests {
    private let run: TrainingRun
    private let llama: String
    /// What the run must know of the Llama.
    private let keys: [String]

    /// A Llama without weights for images, with the vocabulary of the data set's tokenizer.
    init() throws {
        run = try TrainingRun()
        llama = run.directory.file("llama")
        keys = ["model.initial_weights=\(llama)", "model.rope_base=50000", "model.norm_epsilon=1e-6"]
        var configuration = ModelConfiguration(
            layers: 2, width: 32, heads: 2, feedForward: 48, vocabulary: 402, patchSize: 2, imageChannels: 3,
            imageHeight: 8, imageWidth: 8, beginOfText: 1, endOfText: 2, beginOfImage: 400, endOfImage: 401)
        configuration.rmsNormEpsilon = 1e-6
        configuration.ropeBase = 50000
        let model = TransfusionModel(configuration, Context(pool: ThreadPool(threads: 1), type: .f32))
        model.parameters.initialize(seed: 77)
        let own = run.directory.file("own")
        try FileManager.default.createDirectory(atPath: own, withIntermediateDirectories: true)
        try JSONEncoder().encode(configuration).write(to: URL(filePath: own + "/config.json"))
        try SafetensorsWriter().write(
            model.parameters.parameters.map { SafetensorsTensor($0.name, .f32, $0.globalShape, $0.value.floats()) },
            to: own + "/model.safetensors")
        try WeightFormat.huggingFaceLlama.write(try WeightFormat.safetensors.open(own), to: llama)
        try FileManager.default.removeItem(atPath: llama + "/transfusion.safetensors")
    }

    /// Lets `body` use what a run of one rank trains with.
    private func withSetup<Result: Sendable>(
        _ set: [String], _ body: @escaping @Sendable (TrainingSetup<TransfusionTask>) throws -> Result
    ) throws -> Result {
        let configuration = try run.configuration(set)
        return try ThreadGroup.run(ranks: 1) { group in
            try body(TrainingSetup(configuration, group: group, ranksOnHost: 1))
        }[0]
    }

    /// The text loss of the run's first batch, by a model that was read from a converted checkpoint.
    private func expectedLoss() throws -> Double {
        let images = ImageOptions(patchSize: 2, channels: 3, height: 8, width: 8)
        let converted = run.directory.file("converted")
        try WeightFormat.checkpoint.write(try WeightFormat.huggingFaceLlama.open(llama, images: images), to: converted)
        return try withSetup(keys) { setup in
            try ModelArchive(converted).load(into: setup.task.model.parameters)
            let counts = try setup.task.source.counts(step: 0)
            let weights = TransfusionModel.LossWeights(
                targets: counts.targets, images: counts.images, imageLossWeight: 5)
            var sum = 0.0
            for sequence in 0..<8 {
                let micro = try setup.task.source.microBatch(step: 0, sequences: sequence..<sequence + 1)
                let batch = PreparedBatch(micro, step: 0, seed: 0)
                let noised = NoisedImages(
                    latents: batch.latents, noise: batch.noise, timesteps: batch.timesteps, schedule: NoiseSchedule(),
                    configuration: setup.task.source.model, setup.resources.context)
                sum += try setup.task.model.losses(
                    batch.layout, images: noised, weights: weights, setup.resources.context
                ).text
            }
            return sum / Double(counts.targets)
        }
    }

    @Test func theFirstLossIsThatOfTheLlama() throws {
        let expected = try expectedLoss()
        try run.train("one", lastStep: 3, set: keys)
        try run.train("split", ranks: 4, lastStep: 3, set: keys + ["parallel.tensor=2"])
        try run.train("bf16", ranks: 2, lastStep: 3, set: keys + ["precision=bf16"])
        try run.train("seed", lastStep: 1, set: Array(keys[1...]))
        func loss(_ name: String) throws -> Double { try #require(run.records(name)[0].losses["text"]) }
        #expect(abs(try loss("one") - expected) <= 1e-6 * expected)
        #expect(abs(try loss("split") - expected) <= 1e-5 * expected)
        #expect(abs(try loss("bf16") - expected) <= 1e-2 * expected)
        #expect(abs(try loss("seed") - expected) > 1e-4 * expected, "any weights would do for this test")

        // Once it is saved, the run does without the Llama.
        try FileManager.default.moveItem(atPath: llama, toPath: llama + "-elsewhere")
        try run.train("one", lastStep: 5, set: keys)
        #expect(try run.losses("one").count == 5)
    }

    /// Training and `tf-eval perplexity` agree on what a converted Llama makes of the same rows.
    @Test func theFirstLossIsThatOfPerplexity() throws {
        let images = ImageOptions(patchSize: 2, channels: 3, height: 8, width: 8)
        let converted = run.directory.file("converted")
        try WeightFormat.checkpoint.write(try WeightFormat.huggingFaceLlama.open(llama, images: images), to: converted)
        // Texts alone: what images are to the model, no perplexity says.
        let set = keys + ["model.images=none"]
        let items = try withSetup(set) { setup in
            try (0..<8).flatMap { sequence in
                Self.documents(of: try setup.task.source.microBatch(step: 0, sequences: sequence..<sequence + 1).layout)
            }
        }
        var request = LoadedModel.Request(checkpoint: converted)
        request.tokenizer = Fixtures.path("tokenizer/small.model")
        request.precision = .f32
        let scores = try TextScorer(LoadedModel(request)).logLikelihoods(items)
        let expected = -scores.reduce(0, +) / Double(items.reduce(0) { $0 + $1.scored })
        try run.train("texts", lastStep: 1, set: set)
        let loss = try #require(run.records("texts")[0].losses["text"])
        #expect(items.count > 8 && abs(loss - expected) <= 1e-5 * expected, "\(loss), \(expected)")
    }

    /// The rows of each document, with what its last row predicts where a target is due there.
    private static func documents(of layout: RowLayout) -> [TextScorer.Item] {
        var items: [TextScorer.Item] = []
        var start = 0
        for row in 1...layout.count where row == layout.count || layout.visibleStart[row] != layout.visibleStart[start]
        {
            var tokens = Array(layout.tokens[start..<row])
            if layout.targets[row - 1] >= 0 { tokens.append(layout.targets[row - 1]) }
            if tokens.count > 1 { items.append(TextScorer.Item(tokens: tokens, scored: tokens.count - 1)) }
            start = row
        }
        return items
    }

    @Test func anOwnModelBringsAllItsWeights() throws {
        try run.train("first", lastStep: 4, set: keys)
        let path = run.path("first").checkpoints + "/step-00000004"
        let saved = try run.tensors("first", step: 4)
        try withSetup(keys) { setup in
            try WeightFormat(detectedAt: path).open(path).load(into: setup.task.model.parameters)
            for parameter in setup.task.model.parameters.parameters {
                #expect(parameter.value.floats() == saved[parameter.name], "\(parameter.name)")
            }
        }
        // The optimizer and the steps begin anew.
        try run.train("second", lastStep: 1, set: ["model.initial_weights=\(path)"] + keys[1...])
        #expect(try run.records("second").map(\.step) == [1])
        let checkpoint = try CheckpointStore(run.path("second").checkpoints).open(step: 1)
        #expect(checkpoint.metadata.scalars["tokens"]?.integer == 512)
    }

    @Test func whatDoesNotFitIsRefusedByName() throws {
        func refusal(_ set: String...) throws -> String {
            do {
                try run.train("refused", lastStep: 1, set: keys + set)
                return "nothing was refused"
            } catch {
                return "\(error)"
            }
        }
        #expect(try refusal("model.layers=3", "model.ffn=64").contains("has model.layers 2, the run 3;"))
        #expect(try refusal("model.layers=3", "model.ffn=64").contains("has model.ffn 48, the run 64;"))
        #expect(try refusal("model.rope_base=10000").contains("has model.rope_base 50000.0, the run 10000.0;"))
        #expect(try refusal("model.initial_weights=/nowhere").contains("model.initial_weights: /nowhere"))
        let padded = try ModelOnDisk { model in
            model.vocabulary = 434
            model.beginOfImage = 432
            model.endOfImage = 433
        }
        let lines = try refusal("model.initial_weights=\(padded.path)").split(separator: "\n")
        #expect(
            lines.filter { !$0.contains("; set the key to its value") }.map { String($0) } == [
                "model.initial_weights: \(padded.path) has 432 rows of text embeddings, the run's tokenizer 400 pieces; choose "
                    + "data made with the model's own tokenizer, or, if the other rows are padding, cut them off: in "
                    + "transformers, model.resize_token_embeddings(400)"
            ])
        #expect(lines.allSatisfy { !$0.contains("the key") || $0.contains(" has model.") }, "\(lines)")
        try Data([1]).write(to: URL(filePath: llama + "/tokenizer.model"))
        #expect(try refusal().contains("the tokenizer "))
        #expect(!FileManager.default.fileExists(atPath: run.path("refused").configuration), "a run was begun")
        // A checkpoint without moments is no run to go on with.
        let images = ImageOptions(patchSize: 2, channels: 3, height: 8, width: 8)
        let start = run.directory.file("start")
        try WeightFormat.checkpoint.write(try WeightFormat.huggingFaceLlama.open(llama, images: images), to: start)
        #expect {
            try run.train("resumed", lastStep: 1, resume: .from(start + "/checkpoints/step-00000000"), set: keys)
        } throws: { "\($0)".contains("model.initial_weights") }
    }

    @Test func encryptedRunsNeedTheirKey() throws {
        let key = run.directory.file("key")
        try String(repeating: "5", count: 64).write(toFile: key, atomically: true, encoding: .utf8)
        let set = ["checkpoint.encryption_key_file=\(key)"]
        try run.train("whole")
        try run.train("locked", ranks: 2, lastStep: 5, set: set)
        #expect {
            try run.train("locked")
        } throws: { "\($0)".contains("checkpoint.encryption_key_file") }
        #expect {
            try run.train("locked", set: ["checkpoint.encryption_key_file=\(llama)/config.json"])
        } throws: { "\($0)".contains("holds no key") }
        try run.train("locked", set: set)
        #expect(largestRelativeDifference(try run.losses("locked"), try run.losses("whole")) < 1e-5)
        let store = CheckpointStore(run.path("locked").checkpoints, options: CheckpointOptions(keyFile: key))
        let locked = try store.open(step: 20)
        #expect(try locked.values(of: "model.norm.weight").count == 32)
        #expect(throws: CheckpointError.self) {
            _ = try Checkpoint(locked.path, options: CheckpointOptions(keyFile: nil)).values(of: "model.norm.weight")
        }
    }
}

extension Checkpoint {
    fileprivate func values(of name: String) throws -> [Float] {
        let box = try tensor(name)
        var values = [Float](repeating: 0, count: box.count)
        try values.withUnsafeMutableBytes { try read(box, into: $0) }
        return values
    }
}
