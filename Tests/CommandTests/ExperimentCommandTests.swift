import Foundation
import Testing
import _TestUtilities

/// `tf-coord experiment` as a process, with real runs of a tiny model.
@Suite(.oneSuiteAtATime, .timeLimit(.minutes(10))) struct ExperimentCommandTests {
    private let directory: TemporaryDirectory
    private let dataset: SmallDataset
    private var out: String { directory.file("out") }

    init() throws {
        directory = try TemporaryDirectory()
        dataset = try SmallDataset(hasValidation: true)
        try """
        model: {layers: 2, width: 32, heads: 2, ffn: 48, patch: 2}
        data: {path: \(dataset.path)}
        schedule: {steps: 1200, learning_rate: 3e-3, minimum_learning_rate: 1e-4, warmup_steps: 3}
        batch: {sequence_length: 64, global_sequences: 4}
        parallel: {threads: 1, reduction: elastic}
        precision: f32
        evaluation: {every_steps: 1200, sequences: 4}
        telemetry: {tensorboard: false}
        """.write(toFile: directory.file("base.yaml"), atomically: true, encoding: .utf8)
        try "a white circle is the quality of being red\n".write(
            toFile: directory.file("text.txt"), atomically: true, encoding: .utf8)
        try """
        base: base.yaml
        measures:
          image loss: {record: validation_loss_image}
          perplexity:
            commands: ["tf-eval perplexity -m {run} \(directory.file("text.txt")) --json"]
            value: token_perplexity
        cells:
          causal: {set: {model.causal_images: true}}
          both:
        """.write(toFile: directory.file("masks.yaml"), atomically: true, encoding: .utf8)
    }

    private func values(_ cell: String, in out: String) throws -> [Double] {
        let data = try #require(FileManager.default.contents(atPath: "\(out)/results/\(cell)-seed-0.json"))
        let result = try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
        return try #require(result["values"] as? [[String: Any]]).compactMap { $0["number"] as? Double }
    }

    /// Stopped in the middle of the second run, it ends with the same numbers as one that was left alone.
    @Test func ctrlCLeavesAStateThatGoesOn() throws {
        let arguments = ["experiment", directory.file("masks.yaml"), "--out"]
        let process = try Command("tf-coord").start(arguments + [out])
        let metrics = out + "/runs/both-seed-0/metrics.jsonl"
        let deadline = Date(timeIntervalSinceNow: 200)
        while process.isRunning, Date() < deadline,
            (FileManager.default.contents(atPath: metrics) ?? Data()).count(where: { $0 == 10 }) < 5
        { usleep(5000) }
        process.send(SIGINT)
        let stopped = try process.wait()
        #expect(stopped.status == 85, "\(stopped.errors)")
        #expect(stopped.errors.contains("stopped: the same command goes on"))
        #expect(try String(contentsOfFile: out + "/report.md", encoding: .utf8).contains("1 of 2 runs are finished;"))
        let first = FileManager.default.contents(atPath: out + "/results/causal-seed-0.json")

        let again = try Command("tf-coord").run(arguments + [out])
        #expect(again.status == 0, "\(again.errors)")
        #expect(
            !again.output.contains("causal-seed-0 (1 of 2)") && again.output.contains("both-seed-0 (2 of 2): training"))
        #expect(FileManager.default.contents(atPath: out + "/results/causal-seed-0.json") == first)

        let alone = directory.file("alone")
        #expect(try Command("tf-coord").run(arguments + [alone]).status == 0)
        for cell in ["causal", "both"] {
            let numbers = try values(cell, in: out)
            let undisturbed = try values(cell, in: alone)
            #expect(numbers.count == 2 && numbers == undisturbed, "\(cell)")
        }
        let causal = try values("causal", in: out), both = try values("both", in: out)
        #expect(causal != both)
    }

    @Test func impossibleCellsAreToldBeforeTheFirstRun() throws {
        let result = try Command("tf-coord").run(
            "experiment", directory.file("masks.yaml"), "--out", out, "--set", "model.patch=3")
        #expect(result.status == 2 && result.errors.split(separator: "\n").count == 1)
        #expect(
            result.errors.contains("masks.yaml: cells causal, both: ")
                && result.errors.contains("a patch of 3 does not divide"))
        #expect(!FileManager.default.fileExists(atPath: out))
        let listed = try Command("tf-coord").run("experiment", directory.file("masks.yaml"), "--check")
        #expect(listed.status == 0 && listed.output == "causal-seed-0: 1200 steps\nboth-seed-0: 1200 steps\n")
    }
}
