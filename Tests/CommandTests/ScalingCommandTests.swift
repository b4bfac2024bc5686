import Foundation
import Testing
import _TestUtilities

/// `tf-eval scaling` as a process, with rows from a file and from runs.
@Suite(.serialized, .oneSuiteAtATime) struct ScalingCommandTests {
    private let command = Command("tf-eval")
    private let directory: TemporaryDirectory
    private let table = Fixtures.path("scaling/table7.jsonl")

    init() throws {
        directory = try TemporaryDirectory()
    }

    private func report(_ arguments: [String]) throws -> [String: Any] {
        let result = try command.run(["scaling"] + arguments + ["--json"])
        #expect(result.status == 0 && result.errors.isEmpty, "\(result.errors)")
        return try #require(try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any])
    }

    @Test func theTableOfThePaperGivesItsRatios() throws {
        let plot = directory.file("plot.svg")
        let report = try report([table, "--match", "chameleon", "--family", "linear", "--plot", plot])
        let ratios = try #require(report["ratios"] as? [String: Double])
        #expect(ratios.count == 6)
        #expect(abs(try #require(ratios["c4"]) - 0.487) < 1e-3)
        #expect(FileManager.default.fileExists(atPath: plot))
        let text = try command.run(["scaling", table, "--match", "chameleon", "--family", "linear"])
        #expect(text.status == 0 && text.output.contains("linear to match chameleon at 2.022e+22 FLOPs"))
        #expect(text.output.contains("0.4868"), "\(text.output)")
    }

    @Test func runsBecomeRows() throws {
        let dataset = try SmallDataset()
        let configuration = directory.file("run.yaml")
        try """
        model: {layers: 1, width: 32, heads: 2, ffn: 48, patch: 2}
        data: {path: \(dataset.path)}
        schedule: {steps: 9, learning_rate: 3e-3, minimum_learning_rate: 1e-4, warmup_steps: 1}
        batch: {sequence_length: 64, global_sequences: 2}
        parallel: {threads: 1}
        precision: f32
        """.write(toFile: configuration, atomically: true, encoding: .utf8)
        for steps in [3, 6, 9] {
            let result = try Command("tf-worker").run([
                "--config", configuration, "--run-dir", directory.file("run\(steps)"), "--steps", "\(steps)",
            ])
            #expect(result.status == 0, "\(result.errors)")
        }
        let ours = [3, 6, 9].map { "ours=\(directory.file("run\($0)"))" }
        let report = try report(ours + ["theirs=\(directory.file("run6"))", "--match", "theirs"])
        let rows = try #require(report["rows"] as? [[String: Any]])
        let tokens = rows.compactMap { $0["tokens"] as? Double }
        #expect(tokens.count == 4 && tokens[0] < tokens[1] && tokens[1] < tokens[2] && tokens[3] == tokens[1])
        #expect(Set(rows.compactMap { $0["parameters"] as? Double }).count == 1)
        let fits = try #require(report["fits"] as? [String: [String: Any]])
        #expect(fits["ours"]?["loss_text"] != nil && fits["ours"]?["loss"] != nil)

        // A run alone says of no family, and one without a step has no losses.
        try "".write(toFile: directory.file("run3/metrics.jsonl"), atomically: true, encoding: .utf8)
        for (source, code, hint) in [
            (directory.file("run6"), 2, "FAMILY="), ("a=\(directory.file("none"))", 2, "is no run"),
            ("a=\(directory.file("run3"))", 1, "has no record of a step"), ("/no/such/file", 2, "no such file"),
        ] as [(String, Int32, String)] {
            let result = try command.run(["scaling", source, table, "--match", "chameleon", "--family", "linear"])
            #expect(result.status == code && result.errors.contains(hint), "\(source): \(result.errors)")
            #expect(result.errors.split(separator: "\n").count == 1 && result.output.isEmpty)
        }
    }

    @Test func wrongOptionsAreOneLine() throws {
        for (arguments, hint) in [
            (["--match", "nobody"], "--match: no row is of the family nobody"),
            (["--match", "chameleon"], "--family: must be one of linear, unet"),
            (["--match", "chameleon", "--drop", "fid"], "'fid' is no limit"),
            (["--match", "chameleon", "--drop", "fid>1", "--keep-all"], "exclude each other"),
            (["--match", "chameleon", "--family", "linear", "--plot", "x.png"], "must end in .svg"),
        ] {
            let result = try command.run(["scaling", table] + arguments)
            #expect(result.status == 2 && result.errors.contains(hint), "\(arguments): \(result.errors)")
            #expect(result.errors.split(separator: "\n").count == 1 && result.output.isEmpty)
        }
    }
}
