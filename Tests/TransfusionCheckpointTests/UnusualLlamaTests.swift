import Foundation
import Testing
import TransfusionCheckpoint
import TransfusionCore
import TransfusionModels
import _TestUtilities

/// Llamas with something that is not as expected: numbers, types of tensors, and files beside them.
@Suite struct UnusualLlamaTests {
    private let directory: TemporaryDirectory
    private let source = Fixtures.path("checkpoint/llama")
    private let images = ImageOptions(patchSize: 4, channels: 3, height: 8, width: 8, seed: 3)
    private let norm = "model.norm.weight"

    init() throws {
        directory = try TemporaryDirectory()
    }

    /// The Llama of the fixtures in one file, with some tensors changed or left out, in a directory of its own.
    private func llama(_ name: String = "llama", change: ([String: [Float]]) -> [String: [Float]] = { $0 }) throws
        -> String
    {
        let copy = directory.file(name)
        try FileManager.default.createDirectory(atPath: copy, withIntermediateDirectories: false)
        try FileManager.default.copyItem(atPath: source + "/config.json", toPath: copy + "/config.json")
        var values: [String: [Float]] = [:], shapes: [String: [Int]] = [:]
        for part in ["model-00001-of-00002", "model-00002-of-00002"] {
            let file = try SafetensorsFile("\(source)/\(part).safetensors")
            for entry in file.entries {
                values[entry.name] = try file.floats(entry.name)
                shapes[entry.name] = entry.shape
            }
        }
        let tensors = change(values).map { SafetensorsTensor($0, .f32, shapes[$0] ?? [$1.count], $1) }
        try SafetensorsWriter().write(tensors, to: copy + "/model.safetensors")
        return copy
    }

    private func llama(_ value: Float, at index: Int) throws -> ModelWeights {
        try WeightFormat.huggingFaceLlama.open(
            llama { tensors in
                var tensors = tensors
                tensors[norm]?[index] = value
                return tensors
            }, images: images)
    }

    private func problem(_ work: () throws -> Void) throws -> String {
        try #require(#expect(throws: CheckpointError.self) { try work() }).description
    }

    struct Overflow: Sendable {
        let type: ElementType
        let value: Float
        let message: String
    }

    @Test(
        arguments: [WeightFormat.safetensors, .huggingFaceLlama, .metaLlama],
        [
            Overflow(
                type: .f16, value: 65520,
                message: "has 65520.0 at [3], beyond the 65504.0 that f16 can hold; take bf16 or f32"),
            Overflow(type: .f16, value: -1e30, message: "has -1e+30 at [3], beyond the 65504.0 that f16 can hold"),
            Overflow(
                type: .bf16, value: 3.4e38,
                message: "has 3.4e+38 at [3], beyond the 3.3895314e+38 that bf16 can hold; take f32"),
        ])
    func numbersThatATypeCannotHoldAreRefused(_ format: WeightFormat, _ overflow: Overflow) throws {
        let weights = try llama(overflow.value, at: 3), result = directory.file("result")
        let problem = try problem { try format.write(weights, to: result, type: overflow.type) }
        #expect(problem.hasPrefix(result) && problem.contains("tensor \(norm) " + overflow.message), "\(problem)")
        #expect(try POSIXFileSystem().list(directory.path) == ["llama"], "something was left")
        try format.write(weights, to: result)
    }

    @Test(arguments: [(ElementType.f16, Float(65519), Float(65504)), (.bf16, 3.3895e38, BFloat16(bits: 0x7F7F).float)])
    func theLargestNumbersAreRounded(_ type: ElementType, _ value: Float, _ rounded: Float) throws {
        let weights = try llama(value, at: 3), path = directory.file("model.safetensors")
        #expect(try WeightFormat.safetensors.write(weights, to: path, type: type).isEmpty)
        #expect(try SafetensorsFile(path).floats(norm)[3] == rounded)
    }

    @Test(arguments: [Float.nan, -.infinity], [ElementType.f32, .bf16, .f16])
    func whatIsNoNumberInTheSourceIsTold(_ value: Float, _ type: ElementType) throws {
        let weights = try llama(value, at: 31), path = directory.file("model.safetensors")
        #expect(
            try WeightFormat.safetensors.write(weights, to: path, type: type)
                == ["tensor model.norm.weight holds \(value), as the source does"])
        let written = try SafetensorsFile(path).floats(norm)[31]
        #expect(written == value || written.isNaN && value.isNaN)
    }

    /// Puts a tensor of a type that is not read here into a file: its bytes, of which there are three, come last.
    private func addBooleans(_ name: String, to file: String) throws {
        var bytes = try [UInt8](Data(contentsOf: URL(filePath: file)))
        let length = Int(bytes[..<8].withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) })
        var header = String(decoding: bytes[8..<8 + length], as: UTF8.self).trimmingCharacters(in: .whitespaces)
        let end = bytes.count - 8 - length
        header.removeLast()
        header += ",\"\(name)\":{\"dtype\":\"BOOL\",\"shape\":[3],\"data_offsets\":[\(end),\(end + 3)]}}"
        bytes.replaceSubrange(
            ..<(8 + length), with: withUnsafeBytes(of: UInt64(header.utf8.count)) { Array($0) } + Array(header.utf8))
        try Data(bytes + [1, 0, 1]).write(to: URL(filePath: file))
    }

    @Test func aTensorOfATypeThatNobodyNeedsIsPassedOver() throws {
        let plain = try llama("plain"), marked = try llama("marked")
        try addBooleans("model.layers.0.mask", to: marked + "/model.safetensors")
        let weights = try WeightFormat.huggingFaceLlama.open(marked, images: images)
        #expect(weights.passedOver == ["the tensor model.layers.0.mask (BOOL)"])
        try WeightFormat.checkpoint.write(weights, to: directory.file("a"))
        try WeightFormat.checkpoint.write(
            WeightFormat.huggingFaceLlama.open(plain, images: images), to: directory.file("b"))
        #expect(try TensorComparison(directory.file("a"), directory.file("b")).isEqual)
        let file = try SafetensorsFile(marked + "/model.safetensors")
        #expect(file.unreadable == ["model.layers.0.mask": "BOOL"] && file["model.layers.0.mask"] == nil)
        // Whether these are equal, nobody has looked.
        #expect(
            try problem { _ = try TensorComparison(marked, marked) }.contains(
                "model.layers.0.mask has elements of BOOL"))
    }

    @Test func aTensorThatIsNeededIsRefusedByItsType() throws {
        let copy = try llama { $0.filter { $0.key != norm } }, file = copy + "/model.safetensors"
        try addBooleans(norm, to: file)
        let expected = "\(file): tensor \(norm) has elements of BOOL, which are not read; store it as F32, BF16 or F16"
        #expect(try problem { _ = try WeightFormat.huggingFaceLlama.open(copy, images: images) } == expected)
        #expect(try problem { _ = try SafetensorsFile(file).floats(norm) } == expected)
    }

    @Test func aMissingHeadIsNamedWithWhatMayBeMeant() throws {
        let copy = try llama { $0.filter { $0.key != "lm_head.weight" } }
        #expect(
            try problem { _ = try WeightFormat.huggingFaceLlama.open(copy, images: images) }
                == "\(copy): has no tensor lm_head.weight; of a Llama whose head is its embedding, config.json says "
                + "\"tie_word_embeddings\": true")
        let config = copy + "/config.json"
        try String(contentsOfFile: config, encoding: .utf8)
            .replacing("\"tie_word_embeddings\": false", with: "\"tie_word_embeddings\": true")
            .write(toFile: config, atomically: true, encoding: .utf8)
        let tied = try WeightFormat.huggingFaceLlama.open(copy, images: images)
        #expect(tied.configuration.hasTiedEmbeddings && tied.tensors["lm_head.weight"] == nil)
    }

    @Test func anAdapterBesideAModelIsNoPartOfIt() throws {
        let copy = try llama()
        try FileManager.default.copyItem(
            atPath: copy + "/model.safetensors", toPath: copy + "/adapter_model.safetensors")
        let weights = try WeightFormat.huggingFaceLlama.open(copy, images: images)
        #expect(weights.passedOver == ["adapter_model.safetensors"])
        try FileManager.default.removeItem(atPath: copy + "/model.safetensors")
        #expect(
            try problem { _ = try WeightFormat.huggingFaceLlama.open(copy, images: images) }
                .contains("holds only adapter_model.safetensors, which is no model but an adapter; merge it"))
    }

    @Test func aDirectoryWithBothFormsIsEither() throws {
        let copy = try llama(), meta = directory.file("meta")
        let weights = try WeightFormat.huggingFaceLlama.open(copy, images: images)
        try WeightFormat.metaLlama.write(weights, to: meta)
        #expect(try WeightFormat(detectedAt: copy) == .huggingFaceLlama && WeightFormat(detectedAt: meta) == .metaLlama)
        for name in ["params.json", "consolidated.safetensors"] {
            try FileManager.default.copyItem(atPath: "\(meta)/\(name)", toPath: "\(copy)/\(name)")
        }
        #expect(try WeightFormat(detectedAt: copy) == .huggingFaceLlama)
        let places = ["a", "b", "c"].map(directory.file)
        let forms = [try WeightFormat(detectedAt: copy), .huggingFaceLlama, .metaLlama]
        for (place, format) in zip(places, forms) {
            try WeightFormat.checkpoint.write(format.open(copy, images: images), to: place)
        }
        #expect(try TensorComparison(places[0], places[1]).isEqual && TensorComparison(places[0], places[2]).isEqual)
        // A config.json alone says nothing of where the weights are.
        try FileManager.default.removeItem(atPath: copy + "/model.safetensors")
        #expect(try WeightFormat(detectedAt: copy) == .metaLlama)
    }

    /// A Llama whose `tokenizer.json` reserves tokens, and that has more rows than these.
    @Test func reservedTokensBecomeThoseOfImages() throws {
        let copy = try llama()
        let json = """
            {"added_tokens": [{"id": 1, "content": "<s>", "special": true}, {"id": 2, "content": "</s>", "special": true},
              {"id": 4, "content": "<|reserved_special_token_0|>", "special": true},
              {"id": 5, "content": "<|reserved_special_token_1|>", "special": true}],
             "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "\u{2581}"},
             "decoder": {"type": "Fuse"},
             "model": {"type": "BPE", "unk_token": "a", "vocab": {"a": 0, "b": 3, "ab": 6}, "merges": ["a b"]}}
            """
        try Data(json.utf8).write(to: URL(filePath: copy + "/tokenizer.json"))
        let plain = try WeightFormat.huggingFaceLlama.open(source, images: images)
        let weights = try WeightFormat.huggingFaceLlama.open(copy, images: images)
        #expect(weights.configuration.vocabulary == 7)
        #expect([weights.configuration.beginOfImage, weights.configuration.endOfImage] == [4, 5])
        #expect(weights.tokenizer == SHA256.hexDigest(Array(json.utf8)))
        let padding = plain.configuration.vocabulary - 2 - 7
        #expect(weights.passedOver.contains("\(padding) rows of embeddings behind the tokenizer's vocabulary"))
        #expect(!weights.drawn.contains { $0.contains("BOI") } && plain.drawn.contains { $0.contains("BOI") })
        // Back again it has all of its rows, and transformers finds the tokens.
        let result = directory.file("result")
        try WeightFormat.huggingFaceLlama.write(weights, to: result)
        let file = try SafetensorsFile(result + "/model.safetensors")
        let embeddings = try file.floats("model.embed_tokens.weight")
        let all = try #require(plain.tensors["model.embed_tokens.weight"])
        #expect(embeddings.count == 7 * all.shape[1])
        #expect(
            try String(contentsOfFile: result + "/tokenizer_config.json", encoding: .utf8) == """
                {
                  "bos_token" : "<s>",
                  "clean_up_tokenization_spaces" : false,
                  "eos_token" : "</s>",
                  "model_max_length" : 64,
                  "tokenizer_class" : "PreTrainedTokenizerFast"
                }

                """)
    }

    @Test func transformersFindsWhatTheModelWasTrainedWith() throws {
        let copy = try llama(), tokenizer = copy + "/tokenizer.model"
        try FileManager.default.copyItem(atPath: Fixtures.path("tokenizer/small.model"), toPath: tokenizer)
        let weights = try WeightFormat.huggingFaceLlama.open(copy, images: images)
        let result = directory.file("result")
        try WeightFormat.huggingFaceLlama.write(weights, to: result)
        func text(_ name: String) throws -> String { try String(contentsOfFile: "\(result)/\(name)", encoding: .utf8) }
        #expect(
            try text("tokenizer_config.json") == """
                {
                  "add_bos_token" : true,
                  "add_eos_token" : false,
                  "bos_token" : "<s>",
                  "clean_up_tokenization_spaces" : false,
                  "eos_token" : "</s>",
                  "legacy" : false,
                  "model_max_length" : 64,
                  "tokenizer_class" : "LlamaTokenizer",
                  "unk_token" : "<unk>"
                }

                """)
        #expect(
            try text("generation_config.json") == """
                {
                  "_from_model_config" : true,
                  "bos_token_id" : 1,
                  "eos_token_id" : 2
                }

                """)
        // What a Llama brings along stays as it is.
        try Data("{\"mine\": 1}".utf8).write(to: URL(filePath: copy + "/tokenizer_config.json"))
        let again = directory.file("again")
        try WeightFormat.huggingFaceLlama.write(
            WeightFormat.huggingFaceLlama.open(copy, images: images), to: again)
        #expect(try Data(contentsOf: URL(filePath: again + "/tokenizer_config.json")) == Data("{\"mine\": 1}".utf8))
    }

    @Test(arguments: [
        ("[]", "no object"), ("null", "null and no object"), ("{\"hidden_size\": [1]}", "no integer at hidden_size"),
        ("{\"hidden_size\": null}", "null and no integer at hidden_size"), ("", "is empty"), ("{", "it is not JSON"),
        ("{\"hidden_size\": 1, \"intermediate_size\": true}", "no integer at intermediate_size"),
        ("{\"hidden_act\": 3}", "no text at hidden_act"),
    ])
    func descriptionsThatAreNoneAreRefusedInWordsOfJSON(_ json: String, _ expected: String) throws {
        let copy = try llama(), config = copy + "/config.json"
        try Data(json.utf8).write(to: URL(filePath: config))
        let problem = try problem { _ = try WeightFormat.huggingFaceLlama.open(copy, images: images) }
        #expect(problem.hasPrefix(config + ": ") && problem.hasSuffix(expected), "\(problem)")
    }

    @Test func otherFormsAreNamed() throws {
        let copy = try llama(), config = copy + "/config.json"
        let described = "\(config): describes no images, as of a Llama; "
        #expect(try problem { _ = try WeightFormat.safetensors.open(copy) } == described + "its format is hf-llama")
        // What opens any form takes it for a model without images.
        #expect(try ModelArchive(copy).configuration.images == .none)
        try Data([0xFF, 0x7B]).write(to: URL(filePath: config))
        #expect(try problem { _ = try WeightFormat.huggingFaceLlama.open(copy) } == "\(config): is not UTF-8 text")
    }
}
