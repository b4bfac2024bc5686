import Foundation
import Testing
import TransfusionCheckpoint
import TransfusionCore
import TransfusionModels
import _TestUtilities

@Suite struct ConversionTests {
    private let directory: TemporaryDirectory
    private let images = ImageOptions(patchSize: 4, channels: 3, height: 8, width: 8, seed: 3)
    private let llama = Fixtures.path("checkpoint/llama")

    init() throws {
        directory = try TemporaryDirectory()
    }

    private func values(_ name: String, _ weights: ModelWeights) throws -> [Float] {
        let path = directory.file("one.safetensors")
        try? FileManager.default.removeItem(atPath: path)
        try WeightFormat.safetensors.write(weights, to: path)
        return try SafetensorsFile(path).floats(name)
    }

    @Test func aLlamaOfTransformersStartsATransfusionModel() throws {
        let weights = try WeightFormat.huggingFaceLlama.open(llama, images: images)
        let configuration = weights.configuration
        #expect(configuration.vocabulary == 52)
        #expect((configuration.beginOfImage, configuration.endOfImage) == (50, 51))
        #expect((configuration.rmsNormEpsilon, configuration.ropeBase) == (1e-5, 50000))
        #expect((configuration.patchSize, configuration.patchWidth) == (4, 48))
        #expect(weights.tensors.mapValues(\.shape) == configuration.parameterShapes)

        let run = directory.file("run")
        try WeightFormat.checkpoint.write(weights, to: run)
        let read = try WeightFormat.checkpoint.open(run)
        #expect(read.configuration == configuration)
        let source = try SafetensorsFile(llama + "/model-00001-of-00002.safetensors")
        let embedding = try values("model.embed_tokens.weight", read)
        #expect(embedding.count == 52 * 32)
        #expect(try embedding.starts(with: source.floats("model.embed_tokens.weight")))
        let added = embedding[(50 * 32)...]
        #expect(added.allSatisfy { $0.isFinite && abs($0) < 1 } && Set(added).count == 64)
        #expect(try values("patch_decoder.projection.bias", read) == [Float](repeating: 0, count: 48))
    }

    @Test func theLlamaComesBackBitForBitAndSoDoesTheRest() throws {
        let weights = try WeightFormat.huggingFaceLlama.open(llama, images: images)
        let back = directory.file("back")
        try WeightFormat.huggingFaceLlama.write(weights, to: back)
        #expect(
            try POSIXFileSystem().list(back).sorted() == [
                "config.json", "generation_config.json", "model.safetensors", "transfusion.safetensors",
            ])
        let file = try SafetensorsFile(back + "/model.safetensors")
        var count = 0
        for name in ["model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors"] {
            let source = try SafetensorsFile(llama + "/" + name)
            for entry in source.entries {
                #expect(try file.entry(entry.name).shape == entry.shape)
                #expect(try file.floats(entry.name) == source.floats(entry.name), "\(entry.name)")
                count += 1
            }
        }
        #expect(file.entries.count == count)

        // The side file, not the options, says what the images are like.
        let again = try WeightFormat.huggingFaceLlama.open(back)
        #expect(again.configuration == weights.configuration)
        try WeightFormat.checkpoint.write(weights, to: directory.file("a"))
        try WeightFormat.checkpoint.write(again, to: directory.file("b"))
        #expect(try TensorComparison(directory.file("a"), directory.file("b")).isEqual)
    }

    @Test func metaLlamaHasItsOwnNamesAndOrderOfRows() throws {
        let weights = try WeightFormat.huggingFaceLlama.open(llama, images: images)
        let meta = directory.file("meta")
        try WeightFormat.metaLlama.write(weights, to: meta)
        let file = try SafetensorsFile(meta + "/consolidated.safetensors")
        let expected = try Fixtures.safetensors("checkpoint/llama_meta.safetensors")
        for layer in 0..<2 {
            for (name, other) in [("wq", "q_proj"), ("wk", "k_proj")] {
                #expect(
                    try file.floats("layers.\(layer).attention.\(name).weight")
                        == expected.floats("model.layers.\(layer).self_attn.\(other).weight"))
            }
        }
        #expect(try file.entry("tok_embeddings.weight").shape == [50, 32])
        #expect(try file.entry("layers.1.feed_forward.w2.weight").shape == [32, 48])
        let again = try WeightFormat.metaLlama.open(meta)
        try WeightFormat.checkpoint.write(weights, to: directory.file("a"))
        try WeightFormat.checkpoint.write(again, to: directory.file("b"))
        #expect(try TensorComparison(directory.file("a"), directory.file("b")).isEqual)
    }

    @Test(arguments: [ElementType.f32, .bf16, .f16]) func safetensorsInEveryType(_ type: ElementType) throws {
        let weights = try WeightFormat.huggingFaceLlama.open(llama, images: images)
        let model = directory.file("model")
        try WeightFormat.safetensors.write(weights, to: model, type: type, shardBytes: 20_000)
        let names = try POSIXFileSystem().list(model)
        #expect(names.contains("model.safetensors.index.json") && names.contains("config.json"))
        #expect(names.count > 5)
        let again = try WeightFormat.safetensors.open(model)
        #expect(again.configuration == weights.configuration)
        for name in weights.tensors.keys {
            let expected = try values(name, weights).map { value in
                switch type {
                case .bf16: BFloat16(value).float
                case .f16: Float(Float16(value))
                default: value
                }
            }
            #expect(again.tensors[name]?.type == type)
            #expect(try values(name, again) == expected, "\(name)")
        }
    }

    @Test func safetensorsOfAnImpossibleModelAreRefused() throws {
        let model = directory.file("model")
        try WeightFormat.safetensors.write(try WeightFormat.huggingFaceLlama.open(llama, images: images), to: model)
        let config = model + "/config.json"
        let text = try String(contentsOfFile: config, encoding: .utf8)
        try text.replacing(#/"num_attention_heads"\s*:\s*\d+/#, with: "\"num_attention_heads\": 5")
            .write(toFile: config, atomically: true, encoding: .utf8)
        let error = #expect(throws: CheckpointError.self) { try WeightFormat.safetensors.open(model) }
        #expect(error?.path == config && error?.problem.contains("model.heads: 5 heads do not divide") == true)
    }

    @Test func theTokenizerTravelsAlong() throws {
        var weights = try WeightFormat.huggingFaceLlama.open(llama, images: images)
        let tokenizer = directory.file("tokenizer.model")
        try Data([1, 2, 3]).write(to: URL(fileURLWithPath: tokenizer))
        weights.tokenizerFiles = [tokenizer]
        var path = ""
        for format in WeightFormat.allCases {
            path = directory.file(format.rawValue)
            try format.write(weights, to: path)
            weights = try format.open(path)
            #expect(weights.tokenizerFiles == [path + "/tokenizer.model"])
        }
        #expect(try Data(contentsOf: URL(fileURLWithPath: path + "/tokenizer.model")) == Data([1, 2, 3]))
    }

    @Test func theContextLengthTravelsAlong() throws {
        var weights = try WeightFormat.huggingFaceLlama.open(llama, images: images)
        #expect(weights.contextLength == 64)
        weights.contextLength = 77
        for format in WeightFormat.allCases {
            let path = directory.file(format.rawValue)
            try format.write(weights, to: path)
            weights = try format.open(path)
            #expect(weights.contextLength == 77, "\(format)")
            if [.checkpoint, .safetensors].contains(format) { #expect(try ModelArchive(path).contextLength == 77) }
        }
        // Other tools read it there.
        let config = try Data(contentsOf: URL(filePath: directory.file("hf-llama/config.json")))
        let object = try JSONSerialization.jsonObject(with: config) as? [String: Any]
        #expect(object?["max_position_embeddings"] as? Int == 77)
        weights.contextLength = nil
        try WeightFormat.safetensors.write(weights, to: directory.file("unknown"))
        #expect(try ModelArchive(directory.file("unknown")).contextLength == nil)
    }

    @Test(arguments: [
        (
            "\"num_key_value_heads\": 4", "\"num_key_value_heads\": 2",
            "k_proj.weight has the shape [32, 32], not the expected [16, 32]"
        ),
        ("\"attention_bias\": false", "\"attention_bias\": true", "has no tensor model.layers.0.self_attn.k_proj.bias"),
        ("\"hidden_act\": \"silu\"", "\"hidden_act\": \"gelu\"", "activation gelu"),
        ("\"rope_type\": \"default\"", "\"rope_type\": \"llama3\"", "scales its rotary embedding by llama3 without"),
        ("\"hidden_size\": 32", "\"hidden_size\": 40", "does not fit to [50, 32]"),
        ("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 3", "has no tensor model.layers.2."),
        ("\"num_hidden_layers\": 2", "\"num_hidden_layers\": 1", "has the unknown tensor model.layers.1."),
        ("\"vocab_size\": 50", "\"vocab_size\": 49", "has the shape [52, 32], not the expected [51, 32]"),
        ("\"vocab_size\": 50", "\"vocab_size\": -50", "impossible"),
        ("\"bos_token_id\": 1", "\"bos_token_id\": 50000", "impossible model: model.bos"),
        ("\"max_position_embeddings\": 64", "\"max_position_embeddings\": 0", "impossible"),
        ("\"vocab_size\": 50", "\"vocab_size\": \"many\"", "vocab_size"),
        ("{", "", "it is not JSON"),
    ])
    func llamasThatDoNotFitAreRefused(_ old: String, _ new: String, _ message: String) throws {
        let copy = directory.file("llama")
        try FileManager.default.copyItem(atPath: llama, toPath: copy)
        let config = copy + "/config.json"
        let text = try String(contentsOfFile: config, encoding: .utf8)
        #expect(text.contains(old))
        try text.replacingOccurrences(of: old, with: new).write(toFile: config, atomically: true, encoding: .utf8)
        let error = #expect(throws: CheckpointError.self) {
            try WeightFormat.huggingFaceLlama.open(copy, images: images)
        }
        #expect(error?.description.contains(message) == true, "\(error?.description ?? "")")
    }

    @Test func aTransfusionModelIsNotTakenForALlamaWithoutImages() throws {
        let model = directory.file("model")
        try WeightFormat.safetensors.write(WeightFormat.huggingFaceLlama.open(llama, images: images), to: model)
        let error = #expect(throws: CheckpointError.self) {
            try WeightFormat.huggingFaceLlama.open(model, images: images)
        }
        #expect(error?.description.contains("has patch_decoder.projection.bias, which no Llama has") == true)
    }

    @Test func missingShardsAndDamagedFilesAreRefused() throws {
        let copy = directory.file("llama")
        try FileManager.default.copyItem(atPath: llama, toPath: copy)
        try FileManager.default.removeItem(atPath: copy + "/model-00002-of-00002.safetensors")
        func problem() -> String? {
            #expect(throws: CheckpointError.self) { try WeightFormat.huggingFaceLlama.open(copy) }?.problem
        }
        #expect(problem() == "names the file 'model-00002-of-00002.safetensors', which is not there")
        try FileManager.default.removeItem(atPath: copy + "/model.safetensors.index.json")
        try FileManager.default.removeItem(atPath: copy + "/model-00001-of-00002.safetensors")
        #expect(problem() == "holds no .safetensors file and none of PyTorch")
        try Data([0]).write(to: URL(fileURLWithPath: copy + "/pytorch_model.bin"))
        #expect(problem() == "is no file of PyTorch: it does not begin like a zip file")
    }

    @Test func nothingIsOverwritten() throws {
        let weights = try WeightFormat.huggingFaceLlama.open(llama, images: images)
        let path = directory.file("model")
        for format in WeightFormat.allCases {
            try Data([7]).write(to: URL(fileURLWithPath: path))
            #expect(throws: CheckpointError.self) { try format.write(weights, to: path) }
            #expect(try Data(contentsOf: URL(fileURLWithPath: path)) == Data([7]))
        }
        #expect(try POSIXFileSystem().list(directory.path) == ["model"])
    }
}
