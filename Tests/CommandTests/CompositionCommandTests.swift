import Foundation
import Testing
import TransfusionModels
import _TestUtilities

/// `tf-data scenes` and `tf-eval composition` as processes, alone and under mpirun.
@Suite(.serialized, .oneSuiteAtATime, .timeLimit(.minutes(10))) struct CompositionCommandTests {
    private let directory: TemporaryDirectory
    private let model: ModelOnDisk

    init() throws {
        directory = try TemporaryDirectory()
        model = try ModelOnDisk {
            $0.imageHeight = 32
            $0.imageWidth = 32
        }
    }

    private func mpirun(_ arguments: [String]) throws -> Command.Result {
        try Command.onPath("mpirun").run(
            [
                "-n", "2", "--oversubscribe", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1",
                Command("tf-eval").path,
            ] + arguments,
            environment: ["OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"])
    }

    @Test func scenesAreMadeDrawnAndJudged() throws {
        for kind in ["noun", "verb", "adj", "adv"] {
            try Data("00001 03 n 01 owl_\(kind) 0 000 | a bird of prey\n".utf8).write(
                to: URL(filePath: directory.file("data.\(kind)")))
        }
        let data = directory.file("scenes")
        let made = try Command("tf-data").run(
            "scenes", "--scenes", "40", "--tokenizer", Fixtures.path("tokenizer/small.model"), "--wordnet",
            directory.path, "--out", data)
        #expect(made.status == 0 && made.errors.isEmpty, "\(made.errors)")
        #expect(made.output.contains("train: 40 pairs") && made.output.contains("held_out: 24 pairs"))

        let command = Command("tf-eval")
        let arguments = [
            "composition", "--data", data, "--checkpoint", model.path, "--threads", "1", "--steps", "2", "--limit",
            "10",
            "--json",
        ]
        let alone = try command.run(arguments + ["--out", directory.file("drawn")])
        #expect(alone.status == 0 && alone.errors.isEmpty, "\(alone.errors)")
        let shared = try mpirun(arguments)
        #expect(shared.status == 0 && shared.output == alone.output, "\(shared.errors)")
        let again = try command.run("composition", directory.file("drawn"), "--json")
        #expect(again.status == 0 && again.output == alone.output, "\(again.errors)")
        let table = try command.run("composition", directory.file("drawn"))
        #expect(table.output.contains("10 prompts, 10 pictures\npresence  "), "\(table.output)")
    }

    @Test func wrongUseIsOneLine() throws {
        for (arguments, code, hint) in [
            ([], 2, "--data"), (["x", "--data", "y"], 2, "--data"), (["--data", "x"], 2, "--checkpoint"),
            (["x", "--checkpoint", model.path], 2, "--checkpoint"), (["x", "--out", "y"], 2, "--out"),
            (["x", "--steps", "10"], 2, "--steps"),
            (["--prompts", "x", "--split", "y", "--checkpoint", model.path], 2, "--split"),
            (["--data", "x", "--samples", "0", "--checkpoint", model.path], 2, "--samples"),
            (["--data", "/no/such/set", "--checkpoint", model.path], 1, "/no/such/set"), (["/no/such"], 1, "/no/such"),
        ] as [([String], Int32, String)] {
            let result = try Command("tf-eval").run(["composition"] + arguments)
            #expect(result.status == code && result.errors.contains(hint), "\(arguments): \(result.errors)")
            #expect(result.output.isEmpty && result.errors.split(separator: "\n").count == 1, "\(result.errors)")
        }
    }
}
