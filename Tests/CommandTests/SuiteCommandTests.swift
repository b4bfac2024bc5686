import Foundation
import Testing
import _TestUtilities

/// `tf-eval suite` as a process, alone and under mpirun.
@Suite(.serialized, .oneSuiteAtATime, .timeLimit(.minutes(10))) struct SuiteCommandTests {
    private let directory: TemporaryDirectory
    private let model: ModelOnDisk
    private let data: SmallDataset

    init() throws {
        directory = try TemporaryDirectory()
        model = try ModelOnDisk()
        data = try SmallDataset(hasValidation: true)
    }

    private func arguments(_ out: String) -> [String] {
        [
            "suite", "--checkpoint", model.path, "--data", data.path, "--threads", "1", "--steps", "2", "--limit", "9",
            "--max-tokens", "4", "--task", Fixtures.path("texts/questions.jsonl"), "--json", "--out",
            directory.file(out),
        ]
    }

    @Test func anyNumberOfRanksGivesTheSameReport() throws {
        let command = Command("tf-eval")
        let alone = try command.run(arguments("one"))
        #expect(alone.status == 0 && alone.errors.hasPrefix("[1/5] pictures\n"), "\(alone.errors)")
        let shared = try Command.onPath("mpirun").run(
            [
                "-n", "2", "--oversubscribe", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1", command.path,
            ] + arguments("two"),
            environment: ["OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"])
        #expect(shared.status == 0 && shared.output == alone.output, "\(shared.errors)")
        for name in ["report.json", "report.md", "sheet.png"] {
            let files = try ["one/", "two/"].map { try Data(contentsOf: URL(filePath: directory.file($0 + name))) }
            #expect(files[0] == files[1], "\(name)")
        }
        let again = try command.run(arguments("one").filter { $0 != "--json" })
        #expect(
            again.status == 0 && again.errors.contains("[5/5] ranked-questions: is done already"), "\(again.errors)")
        #expect(again.output.contains("left out: CLIP score: no CLIP model is given"), "\(again.output)")
    }

    @Test func wrongUseIsOneLine() throws {
        for (extra, code, hint) in [
            (["--limit", "0"], 2, "--limit"), (["--steps", "0"], 2, "--steps"),
            (["--max-tokens", "0"], 2, "--max-tokens"),
            (["--text", "/no/such"], 1, "/no/such"), (["--split", "none"], 1, "no split"),
        ] as [([String], Int32, String)] {
            let result = try Command("tf-eval").run(arguments("bad") + extra)
            let lines = result.errors.split(separator: "\n").filter { !$0.hasPrefix("[") }
            #expect(result.status == code && lines.count == 1 && lines[0].contains(hint), "\(extra): \(result.errors)")
        }
    }
}
