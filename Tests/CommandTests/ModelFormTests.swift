import Foundation
import Testing
import TransfusionCheckpoint
import TransfusionCore
import TransfusionData
import _TestUtilities

/// Every command that takes a model takes every form of it, and finds the same in each.
@Suite(.oneSuiteAtATime) struct ModelFormTests {
    private let model: ModelOnDisk
    private let directory: TemporaryDirectory

    init() throws {
        model = try ModelOnDisk()
        directory = try TemporaryDirectory()
    }

    private func run(_ name: String, _ arguments: [String]) throws -> Command.Result {
        let result = try Command(name).run(arguments)
        #expect(result.status == 0, "\(name) \(arguments.joined(separator: " ")): \(result.errors)")
        return result
    }

    /// The same model in every form, by the name of the form.
    private func forms() throws -> [(name: String, path: String)] {
        let run = directory.file("run")
        for (source, destination, format) in [
            (model.path, run, "checkpoint"), (run, directory.file("hf"), "hf-llama"),
            (run, directory.file("meta"), "meta-llama"),
        ] { _ = try self.run("tf-ckpt", ["convert", source, destination, "--to", format]) }
        return [
            ("safetensors", model.path), ("file", model.file("model.safetensors")), ("run", run),
            ("checkpoints", run + "/checkpoints"), ("checkpoint", run + "/checkpoints/step-00000000"),
            (
                "image",
                { path in
                    let out = directory.file("a.png")
                    defer { try? FileManager.default.removeItem(atPath: out) }
                    _ = try run("tf-sample", ["image", "-m", path, "-p", "a", "--steps", "2", "-o", out] + threads)
                    // The file names its model.
                    return Data(try PictureFile.read(out).rgb)
                }
            ),
            ("caption", { try output("tf-sample", ["caption", "-m", $0, "--max-tokens", "3", picture] + threads) }),
            (
                "forward",
                {
                    try written(
                        "tf-eval", ["forward", "-m", $0, "--batch", batch] + threads, to: "-o", "a.safetensors")
                }
            ),
            ("perplexity", { try output("tf-eval", ["perplexity", "-m", $0, text, "--context", "8"] + threads) }),
            ("ranked", { try output("tf-eval", ["ranked", "-m", $0, "--task", task] + threads) }),
            (
                "loss",
                { path in
                    let lines = try run("tf-eval", ["loss", path, "--config", configuration]).output.split(
                        separator: "\n")
                    // The first one names the model.
                    return Data(lines.dropFirst().joined(separator: "\n").utf8)
                }
            ),
            ("diff", { try output("tf-ckpt", ["diff", model.path, $0]) }),
            (
                "inspect",
                {
                    _ = try output("tf-ckpt", ["inspect", $0, "--tensors"])
                    return Data()
                }
            ),
            ("convert", { try written("tf-ckpt", ["convert", "--to", "gguf", $0], to: "", "a.gguf") }),
        ]
    }

    @Test(.timeLimit(.minutes(10))) func everyCommandTakesEveryForm() throws {
        let forms = try forms(), data = try SmallDataset(hasValidation: true)
        defer { withExtendedLifetime(data) {} }
        try makeInputs(data)
        for (command, result) in commands() {
            let expected = try result(forms[0].path)
            for (form, path) in forms.dropFirst() {
                // Names of the model are no matter.
                let found = try result(path)
                #expect(normalized(found, path) == normalized(expected, forms[0].path), "\(command) of \(form)")
            }
        }
    }

    private func normalized(_ data: Data, _ path: String) -> Data {
        guard let text = String(data: data, encoding: .utf8) else { return data }
        return Data(text.replacing(path, with: "MODEL").utf8)
    }

    /// A Llama that nobody has prepared writes and is measured; it has no pictures.
    @Test(arguments: ["hf-llama", "meta-llama"]) func aPlainLlamaIsAModelOfText(_ format: String) throws {
        let llama = directory.file("llama")
        _ = try run("tf-ckpt", ["convert", model.path, llama, "--to", format])
        try FileManager.default.removeItem(atPath: llama + "/transfusion.safetensors")
        let text = try run("tf-sample", ["text", "-m", llama, "-p", "a", "--max-tokens", "5", "--threads", "1"])
        #expect(text.output.hasPrefix("a"))
        #expect(try run("tf-ckpt", ["inspect", llama]).output.contains("format      \(format)"))
        let image = try Command("tf-sample").run(
            "image", "-m", llama, "-p", "a", "--out", directory.file("a.png"), "--threads", "1")
        #expect(image.status == 2 && image.errors.contains("is a model without images"), "\(image.errors)")
    }
}
