import Foundation
import Testing
import TransfusionCore
import TransfusionModels
import _TestUtilities

@testable import TransfusionCheckpoint

/// GGUF files against those that the gguf package writes of the same models (`Tests/Fixtures/gguf_files.py`).
@Suite struct GGUFTests {
    private let directory: TemporaryDirectory

    init() throws {
        directory = try TemporaryDirectory()
    }

    private func open(_ name: String, _ change: (inout [String: Any]) -> Void = { _ in }) throws -> ModelWeights {
        let copy = directory.file(name)
        try FileManager.default.copyItem(atPath: Fixtures.path("gguf/" + name), toPath: copy)
        let file = URL(filePath: copy + "/config.json")
        var description = try #require(
            JSONSerialization.jsonObject(with: Data(contentsOf: file)) as? [String: Any])
        change(&description)
        try JSONSerialization.data(withJSONObject: description).write(to: file)
        return try WeightFormat.huggingFaceLlama.open(copy)
    }

    private func problem(_ weights: ModelWeights, _ type: GGUFType = .f32) throws -> String {
        try #require(
            #expect(throws: CheckpointError.self) {
                _ = try weights.writeGGUF(to: directory.file("refused.gguf"), type: type)
            }
        ).description
    }

    @Test(arguments: [
        ("pieces", GGUFType.q8_0), ("pieces", .bf16), ("llama3", .f32), ("qwen2", .q8_0), ("qwen3", .q8_0),
    ]) func everyByteIsThatOfTheOtherWriter(_ name: String, _ type: GGUFType) throws {
        let expected = try Data(contentsOf: URL(filePath: Fixtures.path("gguf/\(name)-\(type.rawValue).gguf")))
        let path = directory.file("\(name)-\(type.rawValue).gguf")
        #expect(try open(name).writeGGUF(to: path, type: type) == [])
        let found = try Data(contentsOf: URL(filePath: path))
        let difference = zip(found, expected).enumerated().first { $0.element.0 != $0.element.1 }?.offset
        #expect(found.count == expected.count && difference == nil, "first difference at byte \(difference ?? -1)")
    }

    /// From a run, whose images have no place there, the same file comes as from the Llama.
    @Test func aTransfusionModelGivesItsTextPart() throws {
        let run = directory.file("run")
        try WeightFormat.checkpoint.write(open("pieces"), to: run)
        let path = directory.file("pieces-q8_0.gguf")
        _ = try WeightFormat.checkpoint.open(run).writeGGUF(to: path, type: .q8_0)
        #expect(FileManager.default.contentsEqual(atPath: path, andPath: Fixtures.path("gguf/pieces-q8_0.gguf")))
        // What is there is not replaced, and nothing unfinished is left.
        #expect(throws: CheckpointError.self) {
            _ = try WeightFormat.checkpoint.open(run).writeGGUF(to: path, type: .f32)
        }
        #expect(!FileManager.default.fileExists(atPath: path + ".partial"))
    }

    @Test func whatLlamaCppCannotSayIsRefused() throws {
        var weights = try open("pieces")
        weights.tokenizerFiles = []
        #expect(try problem(weights).contains("the model has none; put tokenizer.model or tokenizer.json beside it"))
        weights = try open("qwen3")
        weights.configuration.ropeScaling = RotaryScaling()
        #expect(try problem(weights).contains("no architecture of llama.cpp has model.norm pre, model.qk_norm true"))
        weights = try open("qwen2")
        weights.configuration.norm = .post
        #expect(try problem(weights).contains("no architecture of llama.cpp has model.norm post, model.qk_norm false"))
        weights = try open("llama3")
        weights.tokenizerFiles = [Fixtures.path("gguf/pieces/tokenizer.model")]
        #expect(try problem(weights).contains("tokens, the model"))
        let file = directory.file("refused.gguf")
        #expect(!FileManager.default.fileExists(atPath: file))
        #expect(!FileManager.default.fileExists(atPath: file + ".partial"))
    }

    @Test func numbersThatDoNotFitAreRefused() throws {
        var weights = try open("qwen2")
        for (value, line) in [(Float.nan, "nan"), (Float.infinity, "inf"), (1e9, nil)] {
            let values = [Float](repeating: value, count: 32 * 32)
            weights.tensors["model.layers.0.self_attn.o_proj.weight"] = SourceTensor(.f32, [32, 32]) { range, buffer in
                values.withUnsafeBytes { buffer.copyMemory(from: UnsafeRawBufferPointer(rebasing: $0[range])) }
            }
            #expect(
                try problem(weights, .q8_0).contains("blk.0.attn_output.weight holds numbers that q8_0 cannot hold"))
            let path = directory.file("\(value).gguf")
            let warnings = try weights.writeGGUF(to: path, type: .f32)
            #expect(
                warnings == (line.map { ["tensor blk.0.attn_output.weight holds \($0), as the source does"] } ?? []))
        }
    }

    /// Rows that are not made of whole blocks stay as they are.
    @Test func onlyWholeBlocksAreQuantized() {
        #expect(GGUFType.q8_0.ofTensor([4, 48]) == .f32 && GGUFType.q8_0.ofTensor([4, 64]) == .q8_0)
        #expect(GGUFType.bf16.ofTensor([64]) == .f32 && GGUFType.q8_0.byteCount(64) == 68)
        let values = (0..<32).map { Float($0) - 15.5 }
        let bytes = values.withUnsafeBufferPointer(GGUFType.quantized)
        let step = Float(Float16(15.5 / Float(127)))
        #expect(bytes?.count == 34)
        for (value, byte) in zip(values, (bytes ?? []).dropFirst(2)) {
            #expect(abs(Float(Int8(bitPattern: byte)) * step - value) <= 0.51 * step)
        }
        #expect(
            [Float](repeating: 0, count: 32).withUnsafeBufferPointer(GGUFType.quantized)
                == [UInt8](repeating: 0, count: 34))
        // The inverse of the step of such a block is no number.
        for tiny in [Float.leastNonzeroMagnitude, Float.leastNormalMagnitude / 64, 1e-37] {
            let block = [Float](repeating: tiny, count: 32).withUnsafeBufferPointer(GGUFType.quantized)
            #expect(block?.prefix(2) == [0, 0])
        }
    }
}
