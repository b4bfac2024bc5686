import Foundation
import Testing
import TransfusionCheckpoint
import TransfusionConfig
import TransfusionCore
import TransfusionData
import TransfusionInference
import TransfusionModels
import TransfusionTelemetry
import _TestUtilities

@testable import TransfusionTraining

/// Chameleon's model (`model.images: tokens`) from training to sampling.
@Suite struct TokenImagesTests {
    private let run: TrainingRun
    private let codes: String
    private var set: [String] {
        [
            "data.path=\(codes)", "model.images=tokens", "model.norm=post", "model.qk_norm=layer",
            "objective.z_loss=1e-3",
        ]
    }

    init() throws {
        run = try TrainingRun(hasValidation: true)
        codes = run.directory.file("codes")
        var encoding = DatasetEncoding(
            dataset: run.dataset.path, autoencoder: Fixtures.path("autoencoder/vq"), output: codes)
        encoding.storesCodes = true
        _ = try encoding.run()
    }

    @Test(.timeLimit(.minutes(5))) func everyLayoutTrainsTheSameModel() throws {
        let set = set + ["parallel.reduction=elastic", "evaluation.every_steps=10", "evaluation.sequences=4"]
        try run.train("whole", set: set)
        for (step, ranks) in [(7, 1), (13, 4), (20, 2)] {
            try run.train("parts", ranks: ranks, lastStep: step, set: set)
        }
        let tensors = try run.tensors("whole", step: 20)
        #expect(try run.tensors("parts", step: 20) == tensors)
        let records = try run.records("whole")
        #expect(
            records.allSatisfy { record in
                record.losses.keys.sorted() == ["image_tokens", "text", "tokens", "z"] && record.images > 0
            })
        // What is trained is the mean over tokens of both kinds, of which an image has 16.
        for record in records {
            let losses = record.losses, images = Double(16 * record.images)
            let (tokens, text, image) = try (
                #require(losses["tokens"]), #require(losses["text"]), #require(losses["image_tokens"])
            )
            let texts = images * (image - tokens) / (tokens - text)
            #expect(texts > 0 && abs(texts - texts.rounded()) < 1e-3, "\(texts)")
            #expect(abs(record.loss - tokens - 1e-3 * (losses["z"] ?? 0)) < 1e-9)
        }
        #expect(records[19].loss < records[0].loss)
        #expect(records[9].validation?.losses["text"] != nil)
        let names = tensors.keys.filter { !$0.hasPrefix("optimizer.") }
        #expect(!names.contains { $0.contains("patch") }, "\(names.sorted())")
        #expect(try ModelArchive(run.path("whole").path).configuration.vocabulary == 402 + 40)
        for (name, ranks, more) in [
            ("split", 2, ["parallel.tensor=2"]), ("both", 4, ["parallel.tensor=2", "parallel.recompute=selective"]),
            ("again", 2, ["parallel.recompute=full"]),
        ] {
            try run.train(name, ranks: ranks, set: set + more)
            #expect(largestRelativeDifference(try run.losses(name), try run.losses("whole")) < 2e-5, "\(name)")
        }
    }

    private func request(_ name: String) -> LoadedModel.Request {
        var model = LoadedModel.Request(checkpoint: run.path(name).path)
        model.precision = .f32
        return model
    }

    @Test(.timeLimit(.minutes(2))) func aRunDrawsAndDescribesPictures() throws {
        let samples = ["samples.every_steps=2", "samples.prompts=[red circle 1]"]
        try run.train("run", lastStep: 2, set: set + samples)
        let sample = try PictureFile.read(run.path("run").samples + "/step-00000002/000000.png")
        #expect((sample.width, sample.height) == (8, 8))
        // The run has all that it needs, wherever its data went.
        try FileManager.default.removeItem(atPath: codes)
        func draw(_ name: String, autoencoder: String? = nil) throws -> Picture {
            var model = request("run")
            model.autoencoder = autoencoder
            let out = run.directory.file(name)
            _ = try ImageRequest(model: model, prompts: .one("red circle 1"), output: out).run()
            return try PictureFile.read(out)
        }
        let picture = try draw("one.png")
        #expect(try picture.rgb == draw("two.png").rgb && picture.rgb == sample.rgb)
        let png = String(decoding: try Data(contentsOf: URL(filePath: run.directory.file("one.png"))), as: UTF8.self)
        #expect(
            png.contains("Steps: 16, Sampler: TOKENS, CFG scale: 3.0") && png.contains("Temperature: 0.7, Top p: 0.9"))
        #expect { try draw("three.png", autoencoder: Fixtures.path("autoencoder/kl")) } throws: {
            "\($0)".contains("has images of 40 codes, and the autoencoder") && "\($0)".contains("has none")
        }
        for (name, change) in [
            ("steps", { $0.steps = 10 }), ("sampler", { $0.method = .ddpm }), ("eta", { $0.method = .ddim(eta: 1) }),
            ("spacing", { $0.spacing = .trailing }),
        ] as [(String, (inout ImageSettings) -> Void)] {
            var image = ImageRequest(
                model: request("run"), prompts: .one("red circle 1"), output: run.directory.file("four.png"))
            change(&image.settings)
            #expect { try image.run() } throws: { ($0 as? SettingError)?.setting == name }
        }
        var caption = CaptionRequest(model: request("run"), pictures: [run.directory.file("one.png")])
        caption.text.maximumTokens = 3
        #expect(try caption.run().count == 1)
        var text = TextRequest(model: request("run"), prompts: .one("text"))
        (text.text.maximumTokens, text.maximumImages, text.beginsWithImage) = (4, 1, true)
        text.output = run.directory.file("texts")
        #expect(try text.run()[0].parts[0].image == "000000.png")
    }

    @Test(.timeLimit(.minutes(2))) func itsFormsAreReadBackAndStartOthers() throws {
        let set = ["data.path=\(codes)", "model.images=tokens"]
        try run.train("run", lastStep: 2, set: set)
        let path = run.path("run").path, archive = try ModelArchive(path)
        #expect(archive.configuration.images == .tokens && archive.configuration.imageCodes == 40)
        let weights = try WeightFormat(detectedAt: path).open(path)
        for format in [WeightFormat.safetensors, .huggingFaceLlama] {
            let other = run.directory.file(format.rawValue), back = other + "-back"
            try format.write(weights, to: other)
            try WeightFormat.checkpoint.write(try WeightFormat(detectedAt: other).open(other), to: back)
            let read = try ModelArchive(back)
            #expect(read.configuration == archive.configuration)
            try run.train("from-" + format.rawValue, lastStep: 1, set: set + ["model.initial_weights=\(back)"])
        }
        // The Llama has the rows of its text alone.
        let llama = run.directory.file("hf-llama")
        let table = try SafetensorsFile(llama + "/model.safetensors").entry("model.embed_tokens.weight")
        #expect(table.shape == [400, 32])
        try FileManager.default.removeItem(atPath: llama + "/transfusion.safetensors")
        var lines: [String] = []
        let started = set + ["model.initial_weights=\(llama)"]
        let configuration = try run.configuration(started)
        let source = try BatchSource(configuration, data: DataMixture(configuration.data))
        lines.append(
            try InitialWeights(
                llama, for: source.model, tokenizer: source.data.tokens.tokenizer, seed: 0, options: CheckpointOptions()
            ).report)
        #expect(lines[0].contains("the rows of BOI and EOI and image codes in lm_head.weight"), "\(lines)")
        try run.train("started", lastStep: 1, set: started)
    }

    @Test func whatDoesNotFitIsRefused() throws {
        func refusal(_ overrides: [String]) -> String {
            do {
                try run.train("refused", lastStep: 1, set: overrides)
                return "nothing was refused"
            } catch {
                return "\(error)"
            }
        }
        #expect(refusal(["model.images=tokens"]).contains("make one of them with 'tf-data encode --codes'"))
        #expect(refusal(["data.path=\(codes)"]).contains("model.images: the data set has codes of images"))
        #expect(refusal(set + ["data.horizontal_flip=true"]).contains("data.horizontal_flip"))
        #expect(
            refusal(set + ["batch.sequence_length=19"]).contains("do not hold an image of 16 tokens with its markers"))
    }
}
