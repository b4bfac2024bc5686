import Foundation
import Testing
import TransfusionCheckpoint
import TransfusionCore
import TransfusionModels
import _TestUtilities

/// Opening models, as the commands do.
struct ModelArchiveTests {
    private let model: ModelOnDisk
    private let directory: TemporaryDirectory

    init() throws {
        model = try ModelOnDisk()
        directory = try TemporaryDirectory()
    }

    private func load(_ path: String, type: ElementType = .f32) throws -> TransfusionModel {
        let archive = try ModelArchive(path)
        let loaded = TransfusionModel(archive.configuration, Context(pool: ThreadPool(threads: 1), type: type))
        try archive.load(into: loaded.parameters)
        return loaded
    }

    /// Saves the model as a run would, with moments beside the weights.
    private func saveRun(_ path: String, steps: [Int]) throws {
        let store = CheckpointStore(path + "/checkpoints")
        let json = try Data(contentsOf: URL(filePath: model.file("config.json")))
        let configuration = try JSONDecoder().decode(JSONValue.self, from: json)
        for step in steps {
            var pieces: [ShardPiece] = []
            for tensor in try model.tensors() {
                for prefix in ["", "optimizer.mean."] {
                    let values = prefix.isEmpty ? tensor.values.map { $0 + Float(step) } : tensor.values
                    pieces.append(
                        ShardPiece(TensorBox(name: prefix + tensor.name, type: .f32, shape: tensor.shape)) {
                            range, buffer in
                            values.withUnsafeBytes {
                                buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[range]))
                            }
                        })
                }
            }
            try store.save(step: step, metadata: CheckpointMetadata(model: configuration), pieces: pieces)
        }
    }

    @Test func directoryAndFileGiveTheSameModel() throws {
        let expected = try model.tensors()
        for path in [model.path, model.file("model.safetensors")] {
            let loaded = try load(path)
            #expect(loaded.configuration == model.configuration)
            for tensor in expected {
                let isEqual = loaded.parameters[tensor.name]?.value.floats() == tensor.values
                #expect(isEqual, "\(tensor.name)")
            }
        }
        let half = try load(model.path, type: .bf16)
        for tensor in expected where tensor.shape.count == 2 {
            let found = try #require(half.parameters[tensor.name]).value.floats()
            #expect(relativeError(found, tensor.values) < 0x1p-8, "\(tensor.name)")
        }
        #expect(try ModelArchive(model.path).tokenizerPath == model.file("tokenizer.model"))
    }

    @Test func runGivesItsNewestCheckpointThatVerifies() throws {
        let run = directory.file("run")
        try FileManager.default.createDirectory(atPath: run, withIntermediateDirectories: true)
        try saveRun(run, steps: [1, 2])
        let name = "model.norm.weight"
        func norm(_ path: String) throws -> Float { try load(path).parameters[name]?.value.floats()[0] ?? .nan }
        for path in [run, run + "/checkpoints", run + "/checkpoints/step-00000002"] {
            #expect(try norm(path) == 3)
            #expect(try ModelArchive(path).step == 2)
            #expect(try ModelArchive(path).runDirectory == run)
        }
        #expect(try norm(run + "/checkpoints/step-00000001") == 2)

        let newest = run + "/checkpoints/step-00000002"
        let names = try FileManager.default.contentsOfDirectory(atPath: newest)
        let shard = newest + "/" + (try #require(names.first { $0.hasSuffix(".shard") }))
        var bytes = try Data(contentsOf: URL(filePath: shard))
        bytes[0] ^= 1  // in a weight: what is of the optimizer is not read by a model
        try bytes.write(to: URL(filePath: shard))
        var skipped: [Int] = []
        #expect(try ModelArchive(run) { skipped.append($0.step) }.step == 1)
        #expect(skipped == [2])
        // A reader leaves the damaged checkpoint where it is.
        #expect(FileManager.default.fileExists(atPath: newest))
        #expect(throws: CheckpointError.self) { try load(newest) }
    }

    /// Of two forms of a tokenizer, the one that the model was trained with.
    @Test func theTokenizerThatIsMeantIsFound() throws {
        let run = directory.file("run")
        try FileManager.default.createDirectory(atPath: run, withIntermediateDirectories: true)
        try saveRun(run, steps: [1])
        let path = run + "/checkpoints/step-00000001"
        #expect(try ModelArchive(path).tokenizerPath == nil)
        let json = Data("{}".utf8)
        try json.write(to: URL(filePath: run + "/tokenizer.json"))
        #expect(try ModelArchive(path).tokenizerPath == run + "/tokenizer.json")
        try Data([1, 2]).write(to: URL(filePath: run + "/tokenizer.model"))
        #expect(try ModelArchive(path).tokenizerPath == run + "/tokenizer.model")
        let checkpoint = try Checkpoint(path)
        var weights = try ModelWeights(checkpoint)
        #expect(weights.tokenizerFiles.count == 2)
        weights.tokenizer = SHA256.hexDigest([UInt8](json))
        let other = directory.file("other/checkpoints")
        try CheckpointStore(other).write(weights, step: 2)
        for name in ["tokenizer.json", "tokenizer.model"] {
            try FileManager.default.copyItem(atPath: run + "/" + name, toPath: directory.file("other/" + name))
        }
        #expect(try ModelArchive(other + "/step-00000002").tokenizerPath == directory.file("other/tokenizer.json"))
    }

    private func problem(_ path: String) -> String {
        do {
            _ = try ModelArchive(path)
            return ""
        } catch {
            return "\(error)"
        }
    }

    @Test func tensorsMustBeExactlyThoseOfTheModel() throws {
        let tensors = try model.tensors()
        try model.write(tensors: tensors.filter { $0.name != "model.norm.weight" })
        #expect(problem(model.path).contains("has no tensor model.norm.weight"))
        try model.write(tensors: tensors + [("extra", [1], [0])])
        #expect(problem(model.path).contains("unknown tensor extra"))
        try model.write(tensors: tensors.map { $0.name == "model.norm.weight" ? ($0.name, [4, 8], $0.values) : $0 })
        #expect(problem(model.path).contains("model.norm.weight has the shape [4, 8], not the expected [32]"))
    }

    @Test func whatIsNoModelIsRefused() throws {
        #expect(problem("/no/such/run").contains("/no/such/run: is no model"))
        #expect(problem(directory.path).contains("is no model; give a run"))
        #expect(problem(model.file("tokenizer.model")).contains("is no model"))
        try Data("{}".utf8).write(to: URL(filePath: directory.file("config.json")))
        #expect(problem(directory.path).contains("config.json: cannot be understood"))
        try FileManager.default.createDirectory(
            atPath: directory.file("run/checkpoints"), withIntermediateDirectories: true)
        #expect(problem(directory.file("run")).contains("run/checkpoints: holds no complete checkpoint"))

        let file = URL(filePath: model.file("config.json"))
        let configuration = try Data(contentsOf: file)
        for (change, expected) in [
            ("\"num_attention_heads\":2", "\"num_attention_heads\":3"), ("\"hidden_size\":32", "\"hidden_size\":-1"),
            ("\"vocab_size\":402", "\"vocab_size\":\"many\""),
            ("\"vocab_size\":402", "\"vocab_size\":402,\"max_position_embeddings\":-1"),
        ] {
            let text = String(decoding: configuration, as: UTF8.self)
            #expect(text.contains(change))
            try Data(text.replacingOccurrences(of: change, with: expected).utf8).write(to: file)
            #expect(problem(model.path).contains("config.json: cannot be understood"), "\(expected)")
        }
        try configuration.write(to: file)
        let weights = URL(filePath: model.file("model.safetensors"))
        try Data(contentsOf: weights).dropLast(100).write(to: weights)
        #expect(problem(model.path).contains("model.safetensors"))
    }
}
