import Foundation
import Testing
import TransfusionCore
import _TestUtilities

/// `tf-sample` as a process: what it prints, and that bad input is one line and an exit code.
struct SampleCommandTests {
    private let command = Command("tf-sample")
    private let model: ModelOnDisk
    private let directory: TemporaryDirectory

    init() throws {
        model = try ModelOnDisk()
        directory = try TemporaryDirectory()
    }

    private func image(_ arguments: String...) throws -> Command.Result {
        try command.run(["image", "--checkpoint", model.path, "--threads", "1", "--steps", "2"] + arguments)
    }

    /// Runs a command that cannot work: one line on standard error, and nothing at `out`.
    private func expectRefusal(
        _ arguments: [String], code: Int32, _ hint: String, location: SourceLocation = #_sourceLocation
    ) throws {
        let result = try command.run(arguments)
        #expect(result.signal == nil && result.status == code, "\(result.errors)", sourceLocation: location)
        #expect(result.output.isEmpty, sourceLocation: location)
        let lines = result.errors.split(separator: "\n")
        #expect(lines.count == 1, "\(result.errors)", sourceLocation: location)
        #expect(result.errors.contains(hint), "\(result.errors)", sourceLocation: location)
    }

    @Test func drawsWritesAndDescribes() throws {
        let out = directory.file("red.png")
        let drawn = try image("--prompt", "red circle", "--out", out, "--json")
        #expect(drawn.status == 0, "\(drawn.errors)")
        let report = try #require(
            try JSONSerialization.jsonObject(with: Data(drawn.output.utf8)) as? [String: Any])
        #expect((report["pictures"] as? [[String: Any]])?.first?["prompt"] as? String == "red circle")

        let caption = try command.run(
            "caption", "--checkpoint", model.path, "--max-tokens", "4", "--json", out)
        #expect(caption.status == 0, "\(caption.errors)")
        #expect(caption.output.hasPrefix(#"{"caption":""#))

        let text = try command.run(
            "text", "--checkpoint", model.path, "--prompt", "a plant", "--max-tokens", "4", "--temperature", "0.7")
        #expect(text.status == 0, "\(text.errors)")
        #expect(text.output.hasPrefix("a plant"))
        #expect(text.errors.contains(" tokens in ") && text.errors.hasSuffix(" tokens/s\n"), "\(text.errors)")
        let quiet = try command.run(
            "text", "--checkpoint", model.path, "--prompt", "a plant", "--max-tokens", "4", "--min-p", "0.1", "--json")
        #expect(quiet.status == 0 && quiet.errors.isEmpty, "\(quiet.errors)")
    }

    @Test func aSeedBelowZeroIsChosenAndReported() throws {
        let seeds = try [["--seed=-1"], ["--seed", "-1"]].map { seed in
            let result = try command.run(
                ["image", "--checkpoint", model.path, "--threads", "1", "--steps", "2", "--prompt", "red", "--json"]
                    + ["--out", directory.file("\(seed.count).png")] + seed)
            let report = try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any]
            return try #require((report?["pictures"] as? [[String: Any]])?.first?["seed"] as? Int)
        }
        #expect(seeds[0] != seeds[1])
    }

    @Test func wrongUseIsOneLineAndExitCode2() throws {
        let base = ["image", "--checkpoint", model.path, "--prompt", "red", "--out", directory.file("x.png")]
        for (extra, hint) in [
            (["--steps", "0"], "--steps"), (["--steps", "1001"], "--steps"), (["--steps", "many"], "--steps"),
            (["--sampler", "euler"], "euler"), (["--spacing", "odd"], "odd"), (["--eta", "2"], "--eta"),
            (["--sampler", "ddpm", "--eta", "1"], "--eta"), (["--cfg-scale", "inf"], "--cfg-scale"),
            (["--cfg-scale", "-1001"], "--cfg-scale: must lie"),
            (["--precision", "f64"], "f64"), (["--threads", "0"], "--threads"), (["--prompts", "x"], "--prompt"),
            (["--limit", "3"], "--limit"), (["--grid"], "--grid"), (["--colour"], "--colour"),
        ] {
            try expectRefusal(base + extra, code: 2, hint)
        }
        try expectRefusal(["image", "--checkpoint", model.path, "--out", "x.png"], code: 2, "--prompt")
        try expectRefusal(
            ["text", "--checkpoint", model.path, "--prompt", "a", "--top-p", "0"], code: 2, "--top-p")
        try expectRefusal(
            ["text", "--checkpoint", model.path, "--prompt", "a", "--images", "1"], code: 2, "--out")
        let endless = ["--checkpoint", model.path, "--max-tokens", "\(Int.max)"]
        try expectRefusal(["text", "--prompt", "a"] + endless, code: 2, "--max-tokens")
        try expectRefusal(["caption", "x.png"] + endless, code: 2, "--max-tokens")
        let long = String(repeating: "word ", count: 6000)
        try expectRefusal(
            ["image", "--checkpoint", model.path, "--prompt", long, "--out", directory.file("x.png")], code: 2,
            "shorten the prompt")
        try expectRefusal(["caption", "--checkpoint", model.path], code: 2, "--help")
        #expect(!FileManager.default.fileExists(atPath: directory.file("x.png")))
    }

    @Test func promptsAreBoundedByTheLengthThatTheModelWasTrainedOn() throws {
        let config = URL(filePath: model.file("config.json"))
        let text = try String(contentsOf: config, encoding: .utf8)
        try Data("{\"max_position_embeddings\":20,\(text.dropFirst())".utf8).write(to: config)
        let long = String(repeating: "word ", count: 30)
        try expectRefusal(
            ["text", "--checkpoint", model.path, "--prompt", long], code: 2, "the model was trained on 20")
    }

    @Test(arguments: [("model.norm.weight", Float.nan), ("lm_head.weight", .infinity)])
    func weightsThatAreNoNumbersGiveNoText(_ name: String, _ value: Float) throws {
        try model.write(
            tensors: model.tensors().map { tensor in
                (tensor.name, tensor.shape, tensor.name == name ? tensor.values.map { _ in value } : tensor.values)
            })
        let hint = "as \(name) holds values that are no numbers; take a checkpoint from before it diverged"
        for temperature in ["0", "1"] {
            let arguments = ["text", "--checkpoint", model.path, "--prompt", "red", "--temperature", temperature]
            try expectRefusal(arguments, code: 1, "error: \(model.path): the model computes ")
            try expectRefusal(arguments, code: 1, hint)
        }
        guard name == "model.norm.weight" else { return }
        let out = directory.file("x.png")
        try expectRefusal(
            ["image", "--checkpoint", model.path, "--prompt", "red", "--out", out, "--steps", "2"], code: 1, hint)
        #expect(!FileManager.default.fileExists(atPath: out))
    }

    @Test func argumentsThatAreNoTextAreRefused() throws {
        func refusal(_ arguments: String) throws -> String {
            let result = try Command(path: "/bin/sh").run(
                ["-c", "cd \"$1\" && exec \"$0\" \(arguments)", command.path, directory.path])
            #expect(result.status == 2, "\(result.errors)")
            return result.errors
        }
        let name = "\"$(printf 'pict\\377ure')\""
        #expect(
            try refusal("image --checkpoint \(model.path) --prompt red --out \(name)")
                == "error: --out: 'pict\u{FFFD}ure' is not UTF-8 text; rename the file or directory\n")
        #expect(try refusal("image --out=\(name)").hasPrefix("error: --out: '--out=pict\u{FFFD}ure' is not UTF-8"))
        #expect(try refusal("caption \(name)").hasPrefix("error: argument: 'pict\u{FFFD}ure' is not UTF-8"))
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path).isEmpty)
    }

    @Test func whatIsThereIsNotOverwritten() throws {
        let out = directory.file("old.png")
        try Data("kept".utf8).write(to: URL(filePath: out))
        let arguments = ["image", "--checkpoint", model.path, "--prompt", "red", "--out"]
        try expectRefusal(arguments + [out], code: 2, "exists already")
        #expect(try String(contentsOfFile: out, encoding: .utf8) == "kept")
        try expectRefusal(arguments + [directory.path], code: 2, "exists already")
        try expectRefusal(arguments + ["/proc/new.png"], code: 1, "/proc/new.png")
        try expectRefusal(arguments + [out + "/inside.png"], code: 2, "cannot be written")
    }

    @Test func damagedInputIsOneLineAndExitCode1() throws {
        let out = directory.file("x.png")
        try expectRefusal(
            ["image", "--checkpoint", "/no/such/run", "--prompt", "a", "--out", out], code: 1, "/no/such/run")
        try expectRefusal(
            ["image", "--checkpoint", model.path, "--prompts", "/no/prompts", "--out", directory.file("d")], code: 1,
            "/no/prompts")
        try expectRefusal(
            ["image", "--checkpoint", model.path, "--data", directory.path, "--out", directory.file("d")], code: 1,
            "is no data set")
        try expectRefusal(
            ["caption", "--checkpoint", model.path, model.file("config.json")], code: 1, "is no PNG, JPEG")
        try expectRefusal(
            ["caption", "--checkpoint", model.path, "/no/such.png"], code: 1, "/no/such.png")
        let weights = URL(filePath: model.file("model.safetensors"))
        try Data(contentsOf: weights).dropLast(64).write(to: weights)
        try expectRefusal(
            ["text", "--checkpoint", model.path, "--prompt", "a"], code: 1, "model.safetensors")
        try FileManager.default.removeItem(atPath: model.file("tokenizer.model"))
        try expectRefusal(
            ["text", "--checkpoint", model.path, "--prompt", "a"], code: 1, "model.safetensors")
        #expect(!FileManager.default.fileExists(atPath: out))
    }
}
