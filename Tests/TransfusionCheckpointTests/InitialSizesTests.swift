import Foundation
import Testing
import TransfusionCheckpoint
import TransfusionConfig
import TransfusionModels
import _TestUtilities

/// Configurations that leave the sizes of the model to the weights that it starts from.
@Suite struct InitialSizesTests {
    private let directory: TemporaryDirectory

    init() throws {
        directory = try TemporaryDirectory()
    }

    private func load(_ weights: String, _ overrides: String...) throws -> RunConfiguration {
        let file = directory.file("run.yaml")
        try """
        model: {initial_weights: "\(weights)"}
        data: {path: data}
        schedule: {steps: 10, warmup_steps: 0}
        batch: {global_sequences: 4}
        """.write(toFile: file, atomically: true, encoding: .utf8)
        return try RunConfiguration.loadWithInitialWeights(file, overrides: overrides)
    }

    private func model(_ configuration: RunConfiguration, _ like: ModelConfiguration) -> ModelConfiguration {
        configuration.modelConfiguration(
            vocabulary: like.vocabulary, imageChannels: like.imageChannels, imageHeight: like.imageHeight,
            imageWidth: like.imageWidth, beginOfText: like.beginOfText, endOfText: like.endOfText,
            beginOfImage: like.beginOfImage, endOfImage: like.endOfImage)
    }

    @Test(arguments: ["llama3", "qwen2", "qwen3", "biased", "smollm"]) func aLlamaGivesSizesAndOptions(
        _ name: String
    ) throws {
        let path = Fixtures.path("llama_family/" + name)
        let configuration = try load(path)
        let images = ImageOptions(patchSize: configuration.model.patch, channels: 3, height: 8, width: 8)
        let weights = try WeightFormat.huggingFaceLlama.open(path, images: images)
        #expect(model(configuration, weights.configuration) == weights.configuration)
        // The run's own file says it all.
        let resolved = try RunConfiguration(yaml: configuration.resolved)
        #expect(resolved == configuration && !configuration.resolved.contains("9.9999"))
    }

    @Test func aTransfusionModelGivesItsPatchesToo() throws {
        let own = try ModelOnDisk {
            $0.timestepAfterProjection = true
            $0.rowOptions.endOfImageIsTarget = true
        }
        let configuration = try load(own.path)
        #expect(model(configuration, own.configuration) == own.configuration)
        #expect(try load(own.path, "model.patch=2").model.patch == 2)
    }

    @Test func keysOfTheFileStandAboveTheModel() throws {
        let path = Fixtures.path("llama_family/smollm")
        let configuration = try load(path, "model.rope_base=7", "model.kv_heads=auto")
        #expect(configuration.model.ropeBase == 7 && configuration.model.keyValueHeads == nil)
        #expect(configuration.model.heads == 9 && configuration.model.hasTiedEmbeddings)
        // With a size of its own, a file says all of them.
        let problems = #expect(throws: ConfigurationError.self) { try load(path, "model.width=36") }?.problems
        #expect(problems?.map(\.key) == ["model.layers", "model.heads"])
        #expect(problems?.first?.message.contains("model.initial_weights gives all sizes or none") == true)
    }

    @Test func aModelThatCannotBeOpenedIsNamed() throws {
        let missing = directory.file("missing")
        let problems = #expect(throws: ConfigurationError.self) { try load(missing) }?.problems
        #expect(problems?.count == 1 && problems?.first?.key == "model.initial_weights")
        #expect(problems?.first?.message.contains(missing) == true)
    }
}
