import Foundation
import Testing
import _TestUtilities

/// `tf-eval perplexity` and `tf-eval ranked` as processes, alone and under mpirun.
@Suite(.serialized, .oneSuiteAtATime, .timeLimit(.minutes(10))) struct TextCommandTests {
    private let command = Command("tf-eval")
    private let model = ["--checkpoint", Fixtures.path("texts"), "--threads", "1"]

    private func arguments(_ measure: String) -> [String] {
        measure == "perplexity"
            ? ["perplexity", Fixtures.path("texts/documents.jsonl"), "--context", "24"]
            : ["ranked", "--task", Fixtures.path("texts/questions.jsonl")]
    }

    private func run(ranks: Int, _ arguments: [String]) throws -> Command.Result {
        try Command.onPath("mpirun").run(
            [
                "-n", "\(ranks)", "--oversubscribe", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1",
                command.path,
            ]
                + arguments,
            environment: ["OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"])
    }

    @Test(arguments: ["perplexity", "ranked"]) func anyNumberOfRanksGivesTheSameNumbers(_ measure: String) throws {
        let alone = try command.run(arguments(measure) + model + ["--json"])
        #expect(alone.status == 0 && alone.errors.isEmpty, "\(alone.errors)")
        #expect(alone.output.contains(measure == "ranked" ? "acc_norm,none" : "bits_per_byte"))
        for ranks in [2, 3] {
            let shared = try run(ranks: ranks, arguments(measure) + model + ["--json"])
            #expect(shared.status == 0 && shared.output == alone.output, "\(shared.errors)")
        }
        let table = try command.run(arguments(measure) + model)
        #expect(table.status == 0 && table.output.contains(measure == "ranked" ? "24 questions" : "token perplexity"))
    }

    @Test func aFailureIsSaidOnce() throws {
        let missing = ["ranked", "--task", "/no/such/task.jsonl"] + model
        for result in [try command.run(missing), try run(ranks: 2, missing)] {
            #expect(result.status == 1 && result.output.isEmpty)
            let lines = result.errors.split(separator: "\n").filter { $0.hasPrefix("error: ") }
            #expect(lines.count == 1 && lines[0].contains("/no/such/task.jsonl"), "\(result.errors)")
        }
        let noModel = try command.run(arguments("ranked") + ["--checkpoint", "/no/such/model"])
        #expect(noModel.status == 1 && noModel.errors.split(separator: "\n").count == 1)
        #expect(try command.run(arguments("ranked") + model + ["--threads", "0"]).status == 2)
    }
}
