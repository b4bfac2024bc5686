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
            ("hf-llama", directory.file("hf")), ("meta-llama", directory.file("meta")),
        ]
    }

    private var text: String { directory.file("text.txt") }
    private var task: String { directory.file("task.jsonl") }
    private var picture: String { directory.file("picture.png") }
    private var batch: String { directory.file("batch.safetensors") }
    private var configuration: String { directory.file("run.yaml") }

    /// Makes what the commands work on beside a model.
    private func makeInputs(_ data: SmallDataset) throws {
        try Data("a plant is the quality of being white".utf8).write(to: URL(filePath: text))
        try Data(#"{"context": "red", "choices": [" circle", " plant"], "gold": 0}"#.utf8).write(
            to: URL(filePath: task))
        _ = try run(
            "tf-sample", ["image", "-m", model.path, "--prompt", "red", "--steps", "2", "--out", picture])
        try SafetensorsWriter().write(
            [
                SafetensorsTensor("tokens", .i32, [4], [1, 9, 10, 2] as [Int32]),
                SafetensorsTensor("document_starts", .i32, [1], [0] as [Int32]),
            ], to: batch)
        try Data(
            """
            model: {layers: 1, width: 32, heads: 2, ffn: 48, patch: 4}
            data: {path: \(data.path)}
            batch: {global_sequences: 2, micro_sequences: 1, sequence_length: 64}
            schedule: {steps: 2, warmup_steps: 1}
            evaluation: {every_steps: 1, sequences: 2}
            precision: f32
            """.utf8
        ).write(to: URL(filePath: configuration))
    }

    private static let threads = ["--threads", "1", "--precision", "f32"]

    private func output(_ program: String, _ arguments: [String]) throws -> Data {
        Data(try run(program, arguments).output.utf8)
    }

    /// - Parameter option: What comes before the name of the file; empty for an argument.
    private func written(_ program: String, _ arguments: [String], _ option: String, _ name: String) throws -> Data {
        let out = directory.file(name)
        defer { try? FileManager.default.removeItem(atPath: out) }
        _ = try run(program, arguments + (option.isEmpty ? [out] : [option, out]))
        // A picture's file names its model.
        return name.hasSuffix(".png")
            ? Data(try PictureFile.read(out).rgb) : try Data(contentsOf: URL(filePath: out))
    }

    /// The commands with what each gives of a model: its output, or what it wrote.
    private func commands() -> [(name: String, result: (_ path: String) throws -> Data)] {
        func sample(_ arguments: [String]) throws -> Data { try output("tf-sample", arguments + Self.threads) }
        func measure(_ arguments: [String]) throws -> Data { try output("tf-eval", arguments + Self.threads) }
        let image = ["-p", "a", "--steps", "2"] + Self.threads, forward = ["--batch", batch] + Self.threads
        return [
            ("text", { try sample(["text", "-m", $0, "-p", "a", "--max-tokens", "5"]) }),
            ("image", { try written("tf-sample", ["image", "-m", $0] + image, "-o", "a.png") }),
            ("caption", { try sample(["caption", "-m", $0, "--max-tokens", "3", picture]) }),
            ("forward", { try written("tf-eval", ["forward", "-m", $0] + forward, "-o", "a.safetensors") }),
            ("perplexity", { try measure(["perplexity", "-m", $0, text, "--context", "8"]) }),
            ("ranked", { try measure(["ranked", "-m", $0, "--task", task]) }),
            ("loss", { try lossLines(of: $0) }), ("diff", { try output("tf-ckpt", ["diff", model.path, $0]) }),
            ("inspect", { try output("tf-ckpt", ["inspect", $0, "--tensors"]).prefix(0) }),
            ("convert", { try written("tf-ckpt", ["convert", "--to", "gguf", $0], "", "a.gguf") }),
        ]
    }

    /// All but the first line, which names the model.
    private func lossLines(of path: String) throws -> Data {
        let lines = try run("tf-eval", ["loss", path, "--config", configuration]).output.split(separator: "\n")
        return Data(lines.dropFirst().joined(separator: "\n").utf8)
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
