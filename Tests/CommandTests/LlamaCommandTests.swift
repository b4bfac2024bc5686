import Foundation
import Testing
import TransfusionCheckpoint
import TransfusionCore
import _TestUtilities

/// A Llama that transformers wrote, through the commands and back.
@Suite struct LlamaCommandTests {
    private let directory: TemporaryDirectory
    private let llama: String

    init() throws {
        directory = try TemporaryDirectory()
        llama = directory.file("llama")
        try FileManager.default.copyItem(atPath: Fixtures.path("checkpoint/llama"), toPath: llama)
        try FileManager.default.copyItem(
            atPath: Fixtures.path("tokenizer/small.model"), toPath: llama + "/tokenizer.model")
    }

    private func convert(_ source: String, _ destination: String, _ options: String...) throws -> String {
        let result = try Command("tf-ckpt").run(
            ["convert", directory.file(source), directory.file(destination)] + options)
        #expect(result.status == 0, "\(result.errors)")
        return result.output
    }

    @Test func computesTheLogitsOfTransformers() throws {
        let output = try convert("llama", "run", "--from", "hf-llama", "--patch-size", "4")
        #expect(output.contains("drawn anew: ") && output.contains("patch_decoder.projection.weight"))
        let expected = Fixture.whole("checkpoint/llama_logits.safetensors")
        let batch = directory.file("batch.safetensors"), out = directory.file("out.safetensors")
        try SafetensorsWriter().write(
            [
                SafetensorsTensor("tokens", .i32, [40], expected["tokens"].integers),
                SafetensorsTensor("document_starts", .i32, [1], [0] as [Int32]),
            ], to: batch)
        let result = try Command("tf-eval").run(
            "forward", "--checkpoint", directory.file("run"), "--batch", batch, "--out", out, "--threads", "1")
        #expect(result.status == 0, "\(result.errors)")
        // BOI and EOI, the last two columns, are not the Llama's.
        let logits = try SafetensorsFile(out).floats("logits")
        #expect(logits.count == 40 * 52)
        let ours = (0..<40).flatMap { logits[$0 * 52..<$0 * 52 + 50] }
        #expect(relativeError(ours, expected["logits"].floats) <= 1e-5)
    }

    @Test func comesBackBitForBitWithItsTokenizer() throws {
        _ = try convert("llama", "run", "--from", "hf-llama")
        _ = try convert("run", "back", "--to", "hf-llama")
        let back = try SafetensorsFile(directory.file("back/model.safetensors"))
        var names: [String] = []
        for file in ["model-00001-of-00002", "model-00002-of-00002"] {
            let source = try SafetensorsFile(llama + "/\(file).safetensors")
            for entry in source.entries {
                #expect(try back.floats(entry.name).map(\.bitPattern) == source.floats(entry.name).map(\.bitPattern))
                names.append(entry.name)
            }
        }
        #expect(back.entries.map(\.name).sorted() == names.sorted() && names.count == 21)
        let tokenizer = FileManager.default.contents(atPath: llama + "/tokenizer.model")
        for place in ["run", "back"] {
            #expect(FileManager.default.contents(atPath: directory.file(place) + "/tokenizer.model") == tokenizer)
        }
        let checkpoint = try Checkpoint(directory.file("run/checkpoints/step-00000000"))
        #expect(checkpoint.metadata.tokenizer == SHA256.hexDigest(try #require(tokenizer)))
    }
}
