import Foundation
import Testing
import TransfusionCheckpoint
import TransfusionCore
import TransfusionSupport
import _TestUtilities

@Suite struct CheckpointCommandTests {
    private let command = Command("tf-ckpt")
    private let directory: TemporaryDirectory
    private var run: String { directory.file("run") }
    private var checkpoints: String { directory.file("run/checkpoints") }

    init() throws {
        directory = try TemporaryDirectory()
        let store = CheckpointStore(directory.file("run/checkpoints"))
        let llama = try WeightFormat.huggingFaceLlama.open(
            Fixtures.path("checkpoint/llama"), images: ImageOptions(patchSize: 4, height: 8, width: 8))
        for step in [10, 20, 30] { try store.write(llama, step: step) }
    }

    /// The command must fail with one line that holds `text`.
    private func expectFailure(
        _ arguments: [String], _ text: String, status: Int32 = 1, sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let result = try command.run(arguments)
        #expect(result.status == status, sourceLocation: sourceLocation)
        #expect(result.signal == nil, sourceLocation: sourceLocation)
        #expect(result.errors.split(separator: "\n").count == 1, "\(result.errors)", sourceLocation: sourceLocation)
        #expect(result.errors.contains(text), "\(result.errors)", sourceLocation: sourceLocation)
    }

    private func damage() throws {
        let shard = URL(fileURLWithPath: checkpoints + "/step-00000030/rank-00000.shard")
        var contents = try Data(contentsOf: shard)
        contents[100] ^= 4
        try contents.write(to: shard)
    }

    @Test func listsAndInspects() throws {
        let list = try command.run("list", run, "--json")
        struct Entry: Decodable {
            var step: Int
            var storedBytes: Int
        }
        let entries = try JSONDecoder().decode([Entry].self, from: Data(list.output.utf8))
        #expect(entries.map(\.step) == [10, 20, 30])
        let inspected = try command.run("inspect", run, "--json")
        let summary = try JSONDecoder().decode(CheckpointSummary.self, from: Data(inspected.output.utf8))
        #expect(summary.step == 30)
        #expect(summary.tensors.count == 31)
        #expect(summary.program == ProductVersion.full)
        #expect(summary.storedBytes == entries[2].storedBytes)
        #expect(
            try command.run("inspect", checkpoints + "/step-00000010", "--tensors").output.contains("lm_head.weight"))
    }

    @Test func listsWhatWasPutAside() throws {
        try CheckpointStore(checkpoints).putAside([20, 30], branch: 1)
        struct Entry: Decodable, Equatable {
            var step: Int
            var aside: Int?
        }
        let list = try command.run("list", run, "--json")
        #expect(
            try JSONDecoder().decode([Entry].self, from: Data(list.output.utf8)) == [
                Entry(step: 20, aside: 1), Entry(step: 30, aside: 1), Entry(step: 10, aside: nil),
            ])
        let lines = try command.run("list", run).output.split(separator: "\n")
        #expect(lines.count == 4 && lines.filter { $0.hasSuffix("put aside") }.count == 2, "\(lines)")
        #expect(try command.run("inspect", run).output.contains("step-00000010"))
        #expect(try command.run("verify", checkpoints + "/step-00000030.aside-1").status == 0)
    }

    @Test func verifyNamesTheChunk() throws {
        let good = try command.run("verify", run)
        #expect(good.status == 0)
        #expect(good.output.split(separator: "\n").count == 3)
        try damage()
        try expectFailure(["verify", run], "step-00000030/rank-00000.shard: chunk 0 of lm_head.weight does not match")
        #expect(try command.run("verify", checkpoints + "/step-00000020").status == 0)
        try expectFailure(
            ["convert", run, directory.file("out"), "--to", "hf-llama"], "does not match its SHA-256")
        #expect(try POSIXFileSystem().list(directory.path) == ["run"])
    }

    @Test func diffSaysWhatDiffers() throws {
        let equal = try command.run("diff", checkpoints + "/step-00000010", checkpoints + "/step-00000020")
        #expect(equal.status == 0)
        #expect(equal.output == "31 tensors are bit-equal\n")
        let half = directory.file("half.safetensors")
        #expect(try command.run("convert", run, half, "--to", "safetensors", "--type", "bf16").status == 0)
        let different = try command.run("diff", run, half)
        #expect(different.status == 1)
        #expect(different.output.contains("different: lm_head.weight: f32 [52, 32] and bf16 [52, 32]"))
    }

    @Test func reshardsAndExports() throws {
        let other = directory.file("other"), tokenizer = Data([1, 2, 3])
        try tokenizer.write(to: URL(filePath: run + "/tokenizer.model"))
        #expect(
            try command.run("reshard", run, other, "--data", "3", "--tensor", "2", "--compression", "3").status == 0)
        #expect(try POSIXFileSystem().list(other + "/checkpoints/step-00000030").count == 7)
        #expect(try command.run("verify", other).status == 0)
        #expect(try command.run("diff", run, other).status == 0)
        try expectFailure(["reshard", run, other], "already exists")
        let shared = directory.file("shared")
        #expect(try command.run("export-weights", run, shared).status == 0)
        #expect(try command.run("diff", run, shared).status == 0)
        for copy in [other, shared] {
            #expect(FileManager.default.contents(atPath: copy + "/tokenizer.model") == tokenizer)
        }
    }

    /// The run is two directories above a checkpoint, whatever the path of the checkpoint looks like.
    @Test func aCheckpointNamedFromWithinFindsTheTokenizerOfItsRun() throws {
        try Data([1, 2, 3]).write(to: URL(filePath: run + "/tokenizer.model"))
        for (place, name) in [(checkpoints, "step-00000030"), (checkpoints + "/step-00000030", ".")] {
            let result = directory.file("from-\(name)")
            let convert = [command.path, "convert", name, result, "--to", "safetensors"]
            let shell = try Command(path: "/bin/sh").run(["-c", "cd \"$0\" && exec \"$@\"", place] + convert)
            #expect(shell.status == 0, "\(shell.errors)")
            #expect(FileManager.default.fileExists(atPath: result + "/tokenizer.model"), "\(name)")
        }
    }

    @Test func convertsThereAndBack() throws {
        let llama = directory.file("llama")
        let again = directory.file("again")
        #expect(try command.run("convert", run, llama, "--to", "hf-llama").status == 0)
        #expect(try command.run("convert", llama, again, "--from", "hf-llama").status == 0)
        #expect(try command.run("diff", run, again).status == 0)
        try expectFailure(["convert", run, llama, "--to", "hf-llama"], "already exists")
    }

    @Test func aSlashAtTheEndOfTheDestinationIsNoPartOfIt() throws {
        for (name, arguments) in [
            ("slash", ["convert", run, directory.file("slash/"), "--to", "safetensors"]),
            ("llama", ["convert", run, directory.file("llama//"), "--to", "hf-llama"]),
            ("shared", ["export-weights", run, directory.file("shared/")]),
        ] {
            let result = try command.run(arguments)
            #expect(result.status == 0, "\(result.errors)")
            #expect(try !POSIXFileSystem().list(directory.file(name)).contains(".partial"))
            try expectFailure(arguments, "already exists")
        }
        #expect(try command.run("diff", run, directory.file("shared")).status == 0)
    }

    @Test func prunes() throws {
        #expect(try command.run("prune", run, "--keep-last", "1", "--dry-run").output.contains("would delete step 10"))
        #expect(try command.run("list", run, "--json").output.contains("step-00000010"))
        #expect(try command.run("prune", run, "--keep-last", "1", "--keep-every", "20").output == "deleted step 10\n")
        #expect(try POSIXFileSystem().list(checkpoints).sorted() == ["step-00000020", "step-00000030"])
        try expectFailure(
            ["prune", checkpoints + "/step-00000030", "--keep-last", "1"], "is one checkpoint", status: 2)
    }

    @Test func wrongUseIsOneLine() throws {
        try expectFailure(["list", directory.file("nowhere")], "nowhere: cannot list: No such file or directory")
        try expectFailure(["list", directory.path], "holds no checkpoint; give a run")
        try expectFailure(["convert", run, "x", "--to", "checkpoint"], "--from and --to are both", status: 2)
        try expectFailure(["convert", run, "x", "--to", "onnx"], "The value 'onnx' is invalid", status: 2)
        for megabytes in ["0", "\(Int.max)"] {
            try expectFailure(
                ["convert", run, "x", "--to", "safetensors", "--shard-megabytes", megabytes], "--shard-megabytes",
                status: 2)
        }
        try expectFailure(["reshard", run, "x", "--data", "0"], "--data and --tensor must lie between", status: 2)
        try expectFailure(["prune", run, "--keep-last", "0"], "must be positive", status: 2)
        try expectFailure(["frobnicate"], "tf-ckpt --help", status: 2)
        try expectFailure(
            ["convert", Fixtures.path("checkpoint/llama"), directory.file("y"), "--from", "meta-llama"],
            "has no tensors with the names of Meta's Llama")
        #expect(try command.run("--help").output.contains("tf-ckpt verify runs/quickstart"))
    }
}
