import Foundation
import Testing
import TransfusionCheckpoint
import TransfusionCore
import TransfusionModels
import _TestUtilities

/// Models of the Llama family as transformers writes them: what they compute, and what comes back.
@Suite struct LlamaFamilyTests {
    private let directory: TemporaryDirectory
    private let images = ImageOptions(patchSize: 4, channels: 3, height: 8, width: 8, seed: 3)
    private static let families: [Fixture] = Fixture.all("llama_family")

    init() throws {
        directory = try TemporaryDirectory()
    }

    private func source(_ name: String) -> String { Fixtures.path("llama_family/" + name) }

    /// A copy of a model with another `config.json`.
    private func copy(_ name: String, _ change: (inout [String: Any]) -> Void) throws -> String {
        let copy = directory.file("copy")
        try? FileManager.default.removeItem(atPath: copy)
        try FileManager.default.copyItem(atPath: source(name), toPath: copy)
        var description = try description(copy)
        change(&description)
        try JSONSerialization.data(withJSONObject: description).write(to: URL(filePath: copy + "/config.json"))
        return copy
    }

    private func description(_ path: String) throws -> [String: Any] {
        let data = try Data(contentsOf: URL(filePath: path + "/config.json"))
        return try #require(JSONSerialization.jsonObject(with: data) as? [String: Any])
    }

    /// The tensors in all files of a directory.
    private func tensors(_ path: String) throws -> [String: (entry: SafetensorsEntry, values: [UInt32])] {
        var tensors: [String: (entry: SafetensorsEntry, values: [UInt32])] = [:]
        for name in try POSIXFileSystem().list(path)
        where name.hasSuffix(".safetensors") && name != "transfusion.safetensors" {
            let file = try SafetensorsFile("\(path)/\(name)")
            for entry in file.entries { tensors[entry.name] = (entry, try file.floats(entry.name).map(\.bitPattern)) }
        }
        return tensors
    }

    private func problem(_ path: String) throws -> String {
        try #require(
            #expect(throws: CheckpointError.self) {
                try WeightFormat.huggingFaceLlama.open(path, images: images)
            }
        ).problem
    }

    @Test(arguments: families, [TransfusionModel.Recomputation.none, .full])
    func computesTheLogitsAndGradientsOfTransformers(
        _ fixture: Fixture, _ recomputation: TransfusionModel.Recomputation
    ) throws {
        let weights = try WeightFormat.huggingFaceLlama.open(source(fixture.name), images: images)
        let vocabulary = weights.configuration.vocabulary, rows = fixture["tokens"].floats.count
        let context = Context.forTests()
        let model = TransfusionModel(weights.configuration, context, recomputation: recomputation) {
            Tensor([$0], .f32, allocator: context.allocator)
        }
        try weights.load(into: model.parameters)
        let layout = try RowLayout(
            tokens: fixture["tokens"].integers, documentStarts: [0], imageStarts: [], patchesPerImage: 4,
            beginOfImage: weights.configuration.beginOfImage, endOfImage: weights.configuration.endOfImage)
        let logits = try context.record {
            try model.logits(
                model.hiddenStates(layout, images: nil, context), rows: (0..<Int32(rows)).map(\.self), context)
        }
        // BOI and EOI, the last two columns, are not the Llama's.
        let found = Fixture.Values(logits).columns(0..<vocabulary - 2)
        #expect(relativeError(found, fixture["logits"].floats) <= 1e-5)

        let gradient = fixture["dlogits"]
        let seed: [Float] = (0..<rows).flatMap { row -> [Float] in Array(gradient.row(row)) + [0, 0] }
        try context.backward(seeds: [(logits, context.tensor(seed, [rows, vocabulary], .f32))])
        let expected = fixture.values.filter { $0.key.hasPrefix("grad.") }
        for (name, values) in expected {
            let parameter = try #require(model.parameters[String(name.dropFirst("grad.".count))])
            // The rows of BOI and EOI come last.
            let ours = parameter.gradientFloats
            #expect(relativeError(Array(ours.prefix(values.floats.count)), values.floats) <= 1e-4, "\(name)")
            #expect(ours.dropFirst(values.floats.count).allSatisfy { $0 == 0 })
        }
        #expect(expected.count == model.parameters.parameters.count { !$0.name.hasPrefix("patch_") })
    }

    @Test(arguments: families) func comesBackBitForBitAsTransformersWritesIt(_ fixture: Fixture) throws {
        let run = directory.file("run"), back = directory.file("back"), source = source(fixture.name)
        try WeightFormat.checkpoint.write(WeightFormat.huggingFaceLlama.open(source, images: images), to: run)
        try WeightFormat.huggingFaceLlama.write(
            WeightFormat.checkpoint.open(run), to: back, type: fixture.name == "bf16" ? .bf16 : .f32)
        let expected = try tensors(source), found = try tensors(back)
        #expect(found.keys.sorted() == expected.keys.sorted())
        for (name, tensor) in expected {
            #expect(found[name]?.entry.type == tensor.entry.type && found[name]?.entry.shape == tensor.entry.shape)
            #expect(found[name]?.values == tensor.values, "\(name)")
        }
        let theirs = try description(source), ours = try description(back)
        for (key, value) in ours {
            guard let other = theirs[key] else { continue }
            #expect("\(value)" == "\(other)", "\(key)")
        }
        #expect(ours["head_dim"] as? Int == (theirs["head_dim"] as? Int ?? 8))
        let rope = try #require(theirs["rope_parameters"] as? [String: Any])
        #expect(ours["rope_theta"] as? Double == rope["rope_theta"] as? Double)
        #expect((ours["rope_scaling"] as? [String: Any])?["factor"] as? Double == rope["factor"] as? Double)
    }

    /// transformers 4 wrote the base beside the scaling, another name for the type, and fewer sizes.
    @Test func theSpellingsOfTransformers4AreRead() throws {
        for name in ["llama3", "tinyllama", "qwen2"] {
            let expected = try WeightFormat.huggingFaceLlama.open(source(name), images: images)
            let copy = try copy(name) { description in
                var rope = description.removeValue(forKey: "rope_parameters") as? [String: Any] ?? [:]
                description["rope_theta"] = rope.removeValue(forKey: "rope_theta")
                let type = rope.removeValue(forKey: "rope_type") as? String
                if type != "default" { rope["type"] = type }
                description["rope_scaling"] = type == "default" ? NSNull() : rope
                description["torch_dtype"] = description.removeValue(forKey: "dtype")
                description["head_dim"] = nil
            }
            let found = try WeightFormat.huggingFaceLlama.open(copy, images: images)
            #expect(found.configuration == expected.configuration, "\(name)")
        }
        let copy = try copy("biased") { $0["num_key_value_heads"] = nil }
        #expect(try WeightFormat.huggingFaceLlama.open(copy, images: images).configuration.keyValueHeads == 4)
    }

    @Test func whatABlockDoesNotDoIsRefusedByName() throws {
        func expect(_ key: String, _ value: Any, in name: String = "tinyllama", _ message: String) throws {
            let problem = try problem(try copy(name) { $0[key] = value })
            #expect(problem.contains(message), "\(problem)")
        }
        func rope(_ change: [String: Any]) -> [String: Any] { ["rope_theta": 10000.0].merging(change) { $1 } }
        try expect(
            "rope_parameters", rope(["rope_type": "yarn", "factor": 4.0]), "scales its rotary embedding by yarn")
        try expect("rope_parameters", rope(["rope_type": "dynamic", "factor": 4.0]), "by dynamic")
        try expect("rope_parameters", rope(["rope_type": "longrope"]), "by longrope")
        try expect("rope_parameters", rope(["rope_type": "llama3", "factor": 4.0]), "without factor, low_freq_factor")
        try expect("rope_parameters", rope(["partial_rotary_factor": 0.5]), "partial_rotary_factor 0.5")
        try expect("partial_rotary_factor", 0.25, "partial_rotary_factor 0.25")
        try expect("mlp_bias", true, "mlp_bias")
        try expect(
            "model_type", "gemma2", "describes a 'gemma2' model; those that are read are llama, mistral, qwen2, qwen3")
        try expect("model_type", "mixtral", "mixture of experts ('mixtral')")
        try expect("model_type", "qwen3_moe", "mixture of experts ('qwen3_moe')")
        try expect("num_local_experts", 8, "mixture of experts")
        try expect(
            "sliding_window", 64, in: "mistral", "sliding window of 64 rows, shorter than its context (128 rows)")
        try expect("layer_types", ["full_attention", "linear_attention"], "layers of the type linear_attention")
        try expect("num_key_value_heads", 3, in: "tinyllama", "impossible")
        try expect(
            "head_dim", 7, "impossible model: model.head_width: rotary embedding needs an even head width, not 7")
        for (key, value) in [("sliding_window", 128), ("max_window_layers", 28)] {
            let wide = try copy("mistral") { $0[key] = value }
            #expect(try WeightFormat.huggingFaceLlama.open(wide, images: images).configuration.layers == 2)
        }
    }

    /// Rewrites a model's one file with other tensors.
    private func model(
        _ name: String, _ change: (inout [String: (shape: [Int], values: [Float])]) -> Void
    ) throws -> String {
        let copy = try copy(name) { _ in }
        var all: [String: (shape: [Int], values: [Float])] = [:]
        for (name, tensor) in try tensors(copy) {
            all[name] = (tensor.entry.shape, tensor.values.map { Float(bitPattern: $0) })
        }
        change(&all)
        try FileManager.default.removeItem(atPath: copy + "/model.safetensors")
        try SafetensorsWriter().write(
            all.map { SafetensorsTensor($0, .f32, $1.shape, $1.values) }, to: copy + "/model.safetensors")
        return copy
    }

    @Test func aTiedHeadIsTheEmbeddingOrRefused() throws {
        let head = "lm_head.weight"
        let equal = try model("llama3") { $0[head] = $0["model.embed_tokens.weight"] }
        #expect(try WeightFormat.huggingFaceLlama.open(equal, images: images).tensors[head] == nil)
        let other = try model("llama3") {
            $0[head] = $0["model.embed_tokens.weight"]
            $0[head]?.values[7] += 1
        }
        #expect(
            try problem(other).hasPrefix(
                "has a tensor lm_head.weight that differs from model.embed_tokens.weight, though config.json says"))
        let missing = try model("tinyllama") { $0[head] = nil }
        #expect(try problem(missing).contains("has no tensor lm_head.weight; of a Llama whose head is its embedding"))
    }

    @Test func tablesOfOldVersionsAreIgnored() throws {
        let old = try model("tinyllama") {
            for layer in 0..<2 { $0["model.layers.\(layer).self_attn.rotary_emb.inv_freq"] = ([2], [1, 0.1]) }
        }
        let weights = try WeightFormat.huggingFaceLlama.open(old, images: images)
        #expect(weights.tensors.keys.allSatisfy { !$0.contains("inv_freq") })
    }

    @Test(arguments: ["biased", "qwen2", "qwen3", "llama3"]) func metaHasNoWordForSomeOptions(_ name: String) throws {
        let weights = try WeightFormat.huggingFaceLlama.open(source(name), images: images)
        let problem = try #require(
            #expect(throws: CheckpointError.self) {
                try WeightFormat.metaLlama.write(weights, to: directory.file("meta"))
            }
        ).problem
        #expect(problem.hasPrefix("cannot say model.") && problem.hasSuffix("choose the format hf-llama"), "\(problem)")
    }

    /// Meta cuts larger models into a file for each rank that trained them.
    @Test func metaShardsAreJoined() throws {
        func copy(_ name: String, _ files: [String: String]) throws -> String {
            let folder = directory.file(name)
            try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
            for (from, to) in files.merging(["params.json": "params.json"], uniquingKeysWith: { $1 }) {
                try FileManager.default.copyItem(
                    atPath: Fixtures.path("meta_shards/" + from), toPath: "\(folder)/\(to)")
            }
            return folder
        }
        let (first, second) = ("consolidated.00.pth", "consolidated.01.pth")
        let shards = try copy("shards", [first: first, second: second])
        let whole = try copy("whole", ["whole.safetensors": "consolidated.safetensors"])
        #expect(try WeightFormat(detectedAt: shards) == .metaLlama)
        for (name, path) in [("a", shards), ("b", whole)] {
            try WeightFormat.checkpoint.write(WeightFormat.metaLlama.open(path), to: directory.file(name))
        }
        #expect(try TensorComparison(directory.file("a"), directory.file("b")).isEqual)

        func problem(_ name: String, _ files: [String: String]) throws -> String {
            let folder = try copy(name, files)
            return try #require(
                #expect(throws: CheckpointError.self) { try WeightFormat.metaLlama.open(folder) }
            ).problem
        }
        #expect(
            try problem("one", [first: first]).contains(
                "holds 1 of the files consolidated.NN.pth, but the model was cut into 2"))
        #expect(try problem("late", [second: second]).contains("but not the file with the number 0 before it"))
        #expect(
            try problem("three", [first: first, second: second, "whole.safetensors": "consolidated.02.safetensors"])
                .contains("holds 3 of the files consolidated.NN.pth, but the model was cut into 2"))
        // The same part twice: what every rank has is equal, and its number fits; only the other parts would be wrong.
        #expect(
            try problem("gap", [first: first, "consolidated.01.pth": "consolidated.02.pth"]).contains(
                "number 1 before it"))
    }

    /// Grouped-query attention and tied embeddings go through Meta's form and its order of rows.
    @Test(arguments: ["tinyllama", "smollm"]) func metaKeepsWhatItCanSay(_ name: String) throws {
        let weights = try WeightFormat.huggingFaceLlama.open(source(name), images: images)
        let meta = directory.file("meta")
        try WeightFormat.metaLlama.write(weights, to: meta)
        #expect(try SafetensorsFile(meta + "/consolidated.safetensors")["output.weight"] != nil)
        let again = try WeightFormat.metaLlama.open(meta)
        #expect(again.configuration == weights.configuration)
        for (name, weights) in [("a", weights), ("b", again)] {
            try WeightFormat.checkpoint.write(weights, to: directory.file(name))
        }
        #expect(try TensorComparison(directory.file("a"), directory.file("b")).isEqual)
    }
}
