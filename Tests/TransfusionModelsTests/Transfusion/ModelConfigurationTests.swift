import Foundation
import Testing
import _TestUtilities

@testable import TransfusionCore
@testable import TransfusionModels

@Suite struct ModelConfigurationTests {
    private let small = ModelConfiguration(
        layers: 2, width: 32, heads: 2, feedForward: 48, vocabulary: 97, patchSize: 2, imageChannels: 4,
        imageHeight: 8, imageWidth: 12, beginOfText: 1, endOfText: 2, beginOfImage: 95, endOfImage: 96)

    @Test func derivedSizes() {
        #expect(small.headWidth == 16)
        #expect(small.patchesPerImage == 24)
        #expect(small.patchWidth == 16)
        #expect(small.problems().isEmpty)
    }

    /// 8d/3 rounded up to a multiple of 256: the values of the paper's table.
    @Test(arguments: [(768, 2048), (1024, 2816), (1536, 4096), (2048, 5632), (4096, 11008)])
    func llamaFeedForward(width: Int, expected: Int) {
        #expect(ModelConfiguration.llamaFeedForward(width: width) == expected)
    }

    @Test func jsonRoundTrip() throws {
        var configuration = small
        configuration.rmsNormEpsilon = 1e-6
        configuration.ropeBase = 500_000
        configuration.timestepAfterProjection = true
        configuration.rowOptions.endOfImageIsTarget = true
        let data = try JSONEncoder().encode(configuration)
        #expect(try JSONDecoder().decode(ModelConfiguration.self, from: data) == configuration)
    }

    @Test func imageTokensFollowOnTheText() throws {
        var plain = ModelConfiguration(
            layers: 1, width: 32, heads: 2, feedForward: 48, vocabulary: 40, patchSize: 2, imageChannels: 8,
            imageHeight: 6, imageWidth: 4, beginOfText: 1, endOfText: 2, beginOfImage: 38, endOfImage: 39)
        let model = plain.withImageTokens(codes: 9)
        #expect(model.problems().isEmpty && model.vocabulary == 49 && model.textVocabulary == 40)
        #expect(model.patchesPerImage == 24 && model.imageTokens([0, 8]) == [40, 48])
        let json = try JSONEncoder().encode(model)
        #expect(try JSONDecoder().decode(ModelConfiguration.self, from: json) == model)
        #expect(!String(decoding: json, as: UTF8.self).contains("patch_size"))
        // A plain Llama of that vocabulary, nothing more.
        plain.vocabulary = 49
        let names = TransfusionModel.parameters(plain.withoutImages).map { "\($0.name) \($0.globalShape)" }
        #expect(TransfusionModel.parameters(model).map { "\($0.name) \($0.globalShape)" } == names)
        #expect(plain.withImageTokens(codes: 0).problems().map(\.key) == ["model.images"])
        plain.endOfImage = 49
        #expect(plain.withImageTokens(codes: 9).problems().map(\.key) == ["model.eoi"])
        let sizes = MicroBatchSizes(model, sequences: 2, sequenceLength: 64, textToImageRatio: 1)
        #expect(sizes.images == 0 && sizes.targets == 128)
    }

    @Test func jsonHasTheFieldNamesOfHuggingFaceLlama() throws {
        let data = try JSONEncoder().encode(small)
        let object = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
        let expected: [String: Int] = [
            "num_hidden_layers": 2, "hidden_size": 32, "num_attention_heads": 2, "num_key_value_heads": 2,
            "intermediate_size": 48, "vocab_size": 97, "patch_size": 2, "image_channels": 4, "image_height": 8,
            "image_width": 12, "bos_token_id": 1, "eos_token_id": 2, "boi_token_id": 95, "eoi_token_id": 96,
        ]
        for (key, value) in expected { #expect(object[key] as? Int == value, "\(key)") }
        #expect(object["model_type"] as? String == "llama")
        #expect(object["tie_word_embeddings"] as? Bool == false)
    }

    @Test(arguments: ["model", "model_options"])
    func readsTheConfigurationOfOtherPrograms(folder: String) throws {
        let data = try Data(contentsOf: URL(filePath: Fixtures.path("\(folder)/config.json")))
        let read = try JSONDecoder().decode(ModelConfiguration.self, from: data)
        #expect(read.width == 32 && read.vocabulary == 97 && read.endOfImage == 96 && read.problems().isEmpty)
        let allOptions = folder == "model_options"
        #expect(read.timestepAfterProjection == allOptions)
        #expect(read.rowOptions.sharedImagePosition == allOptions)
        #expect(read.rowOptions.attendAcrossDocuments == allOptions)
        #expect(read.rowOptions.endOfImageIsTarget == allOptions)
    }

    @Test func impossibleSizesAreNamed() {
        let changes: [(String, (inout ModelConfiguration) -> Void)] = [
            ("model.layers", { $0.layers = 0 }), ("model.layers", { $0.layers = 1 << 20 }),
            ("model.width", { $0.width = -32 }), ("model.heads", { $0.heads = 3 }),
            ("model.heads", { $0.heads = 32 }), ("model.ffn", { $0.feedForward = 0 }),
            ("model.patch", { $0.patchSize = 3 }), ("model.patch", { $0.patchSize = 0 }),
            ("model.image.channels", { $0.imageChannels = 0 }), ("model.image.height", { $0.imageHeight = 0 }),
            ("model.image.width", { $0.imageWidth = .max }),
            ("model.image.height", { ($0.imageHeight, $0.imageWidth) = (1 << 20, 1 << 20) }),
            ("model.vocab", { $0.vocabulary = 0 }),
            ("model.bos", { $0.beginOfText = -1 }), ("model.eos", { $0.endOfText = 97 }),
            ("model.norm_epsilon", { $0.rmsNormEpsilon = -1 }), ("model.norm_epsilon", { $0.rmsNormEpsilon = .nan }),
            ("model.rope_base", { $0.ropeBase = 0 }), ("model.rope_base", { $0.ropeBase = .infinity }),
            ("model.boi", { $0.beginOfImage = 97 }), ("model.eoi", { $0.endOfImage = 95 }),
        ]
        for (key, change) in changes {
            var configuration = small
            change(&configuration)
            #expect(configuration.problems().map(\.key) == [key])
        }
    }

    @Test func allProblemsAreReportedAtOnce() {
        var configuration = small
        configuration.heads = 3
        configuration.patchSize = 5
        configuration.endOfImage = 1000
        #expect(configuration.problems().map(\.key) == ["model.heads", "model.patch", "model.eoi"])
    }
}
