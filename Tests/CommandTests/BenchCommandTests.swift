import Foundation
import Testing
import TransfusionCore
import TransfusionModels
import _TestUtilities

/// tf-bench as a process. Its figures are this machine's; tests look at whether they can be true.
@Suite(.serialized, .oneSuiteAtATime, .timeLimit(.minutes(5))) struct BenchCommandTests {
    private let bench = Command("tf-bench")
    private static let environment = ["OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"]
    private static let small = [
        "--model", "tiny", "--sequence", "128", "--images", "1", "--patches", "16", "--steps", "1",
    ]

    private func numbers(_ text: String) throws -> [String: Any] {
        try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
    }

    @Test func aStepIsMadeOfItsParts() throws {
        let result = try bench.run(["step", "--json", "--threads", "1"] + Self.small)
        #expect(result.status == 0, "\(result.errors)")
        let step = try #require(try numbers(result.output)["step"] as? [String: Any])
        let seconds = try #require(step["secondsPerStep"] as? Double)
        let products = try #require(step["productSeconds"] as? Double)
        let attention = try #require(step["attentionSeconds"] as? Double)
        #expect(products > 0 && attention > 0 && products + attention < seconds)
        #expect(step["tokensPerStep"] as? Int == 4 * 128)
        #expect(try #require(step["peakOperationsPerSecond"] as? Double) > 1e8)
    }

    /// An autoencoder, beside a program that counts pictures; and a data set that is not there, on two ranks.
    @Test func aRunIsMeasuredOnItsData() throws {
        let directory = try TemporaryDirectory(), dataset = try SmallDataset()
        let configuration = directory.file("run.yaml")
        try """
        task: autoencoder
        autoencoder: {preset: small, kind: kl}
        data: {path: \(dataset.path)}
        schedule: {steps: 10, learning_rate: 1e-3, warmup_steps: 2}
        optimizer: {weight_decay: 0}
        batch: {global_sequences: 4, micro_sequences: 2}
        precision: f32
        """.write(toFile: configuration, atomically: true, encoding: .utf8)
        let result = try bench.run([
            "run", configuration, "--json", "--steps", "2", "--against", #"echo '{"images_per_s": 0.5}'"#,
        ])
        #expect(result.status == 0, "\(result.errors)")
        let all = try numbers(result.output)
        let step = try #require(all["step"] as? [String: Any]), against = try #require(all["against"] as? [String: Any])
        #expect(step["imagesPerStep"] as? Int == 4 && step["model"] as? String == "run.yaml")
        let seconds = try #require(step["secondsPerStep"] as? Double)
        #expect(try #require(step["productSeconds"] as? Double) < seconds)
        #expect(abs((against["speedRatio"] as? Double ?? 0) / (4 / seconds / 0.5) - 1) < 1e-9)
        #expect(against["tokensPerSecond"] == nil && against["runs"] as? Int == 2)

        let missing = try Command.onPath("mpirun").run(
            ["-n", "2", "--oversubscribe", bench.path, "run", configuration, "--set", "data.path=nowhere"],
            environment: Self.environment)
        let said = missing.errors.components(separatedBy: "error: ").count - 1
        #expect(missing.status != 0 && said == 1, "\(missing.errors)")
        #expect(missing.errors.contains("nowhere"))
        let silent = try bench.run(["run", configuration, "--against", "echo '{}'"])
        #expect(silent.status == 2 && silent.errors.contains("no JSON line with tokens_per_s or images_per_s"))
    }

    @Test func picturesAreMeasuredByTheirFormat() throws {
        let result = try bench.run([
            "import", "--json", "--size", "8", "--seconds", "0", "--threads", "2", Fixtures.path("pictures"),
        ])
        #expect(result.status == 0, "\(result.errors)")
        let list = try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [[String: Any]]
        let row = try #require(list?.first)
        #expect(list?.count == 1 && row["format"] as? String == "png" && row["pictures"] as? Int == 19)
        #expect(row["pixels"] as? Double == 45 && row["threads"] as? Int == 2)
        #expect(try #require(row["picturesPerSecond"] as? Double) > 0)
        let text = try bench.run(["import", "--seconds", "0", Fixtures.path("pictures/grey1.png")])
        #expect(text.output.hasPrefix("png   ") && text.output.contains("(1 pictures of "))
        let directory = try TemporaryDirectory()
        let lines = String(repeating: "{\"text\": \"a red circle\"}\n", count: 500)
        try Data(lines.utf8).write(to: URL(filePath: directory.file("t.jsonl")))
        let texts = try bench.run([
            "import", "--json", "--tokenizer", Fixtures.path("tokenizer/small.model"), directory.file("t.jsonl"),
        ])
        #expect(texts.status == 0, "\(texts.errors)")
        let rows = try JSONSerialization.jsonObject(with: Data(texts.output.utf8)) as? [[String: Any]]
        #expect(rows?.count == 1 && rows?[0]["bytes"] as? Int == 6000 && rows?[0]["format"] as? String == "text")
        #expect(try #require(rows?[0]["tokens"] as? Int) % 500 == 0)
        let none = try bench.run(["import", Fixtures.path("model")])
        #expect(none.status == 1 && none.errors.contains("no picture in it"))
    }

    @Test func layoutsAreMeasuredOneAfterTheOther() throws {
        let result = try bench.run(
            ["step", "--json", "--layouts", "1x1,2x1,1x2", "--sequence-parallel", "--threads", "1"] + Self.small,
            environment: Self.environment)
        #expect(result.status == 0, "\(result.errors)")
        let steps = try rows(result.output).compactMap { $0["step"] as? [String: Any] }
        #expect(
            steps.map { $0["layout"] as? String } == [
                "data 1 × tensor 1", "data 2 × tensor 1", "data 1 × tensor 2",
            ])
        #expect(steps.map { $0["tokensPerStep"] as? Int } == [512, 1024, 512])
        // Each data-parallel rank keeps its share of the moments.
        let bytes = steps.compactMap { $0["optimizerBytes"] as? Int }
        #expect(abs(Double(bytes[1]) / Double(bytes[0]) - 0.5) < 0.02)
    }

    private func rows(_ text: String) throws -> [[String: Any]] {
        try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [[String: Any]])
    }

    @Test func measurementsStandBesideWhatThePlannerReckons() throws {
        let directory = try TemporaryDirectory()
        try JSONEncoder().encode(MachineRates.example).write(to: URL(filePath: directory.file("rates.json")))
        let result = try bench.run(
            ["step", "--json", "--sweep", "images", "--threads", "1", "--rates", directory.file("rates.json")]
                + ["--model", "tiny", "--sequence", "48", "--patches", "16", "--steps", "1"],
            environment: Self.environment)
        #expect(result.status == 0, "\(result.errors)")
        let rows = try rows(result.output)
        #expect(
            rows.map { $0["point"] as? String } == ["0 % patches", "33 % patches", "66 % patches", "100 % patches"])
        for row in rows {
            let step = try #require(row["step"] as? [String: Any]), plan = try #require(row["plan"] as? [String: Any])
            #expect(step["tokensPerStep"] as? Int == 4 * 48)
            let planned = try #require(plan["step"] as? [String: Double])
            #expect(try #require(planned["compute"]) > 0 && planned["gradientExchange"] == 0)
            // The state alone is 16 bytes a parameter.
            let parameters = try #require(step["parameters"] as? Int)
            #expect(try #require(plan["memoryBytes"] as? Int) > 16 * parameters)
        }
        // A row without a target costs no head.
        let compute = rows.compactMap { (($0["plan"] as? [String: Any])?["step"] as? [String: Double])?["compute"] }
        #expect(compute.count == 4 && compute == compute.sorted(by: >))
    }

    @Test func moreRanksThanCanBeCountedAreNotStarted() throws {
        let result = try bench.run(
            ["step", "--json", "--layouts", "1000000x32,1x4096", "--micro-batches", "\(1 << 20)", "--model", "7b"])
        #expect(result.status == 0, "\(result.errors)")
        let reasons = try rows(result.output).map { $0["reason"] as? String ?? "" }
        #expect(reasons.count == 2 && reasons[0].contains("on this host"), "\(reasons)")
        #expect(reasons[1] == "32 heads cannot be split over 4096 ranks")
    }

    @Test func kernelsHaveRates() throws {
        let result = try bench.run(["kernels", "--json", "--model", "tiny", "--repetitions", "1"])
        #expect(result.status == 0, "\(result.errors)")
        let report = try numbers(result.output)
        let rates = try #require(report["rates"] as? [[String: Any]])
        #expect(rates.count == 20)
        #expect(rates.allSatisfy { ($0["rate"] as? Double ?? 0) > 0 })
        #expect(try #require(report["copyBandwidth"] as? Double) > 0)
    }

    @Test func wrongUseIsOneLine() throws {
        for (arguments, part) in [
            (["step", "--layouts", "2y1"], "--layouts"), (["step", "--patches", "3"], "--patches"),
            (["step", "--sweep", "colour"], "--sweep"), (["step", "--rates", "none"], "--rates"),
            (["step", "--sweep", "images", "--rates", "none"], "none: cannot be read"),
            (["step", "--tensor", "2", "--steps", "1"], "tensor"),
            (["step", "--images", "\(Int.max)"], "--images"), (["step", "--patches", "\(Int.max)"], "--patches"),
            (["step", "--micro-batches", "\(Int.max)"], "--micro-batches"),
            (["step", "--sequence", "100000000000000"], "--sequence"), (["step", "--threads", "1000000"], "--threads"),
            (["sample", "--patches", "\(Int.max)"], "--patches"),
            (["kernels", "--threads", "1000000"], "--threads"), (["rates", "--threads", "100000000"], "--threads"),
            (["kernels", "--repetitions", "0"], "--repetitions"),
            (["sample", "--precision", "i32"], "one of 'auto', 'f32' or 'bf16'"),
            (["rates", "--precision", "f16"], "one of 'auto', 'f32' or 'bf16'"),
            (["step", "--against", "true", "--steps", "1"] + Self.small.dropLast(2), "--against"),
        ] {
            let result = try bench.run(arguments)
            #expect(result.status == 2, "\(arguments): \(result.errors)")
            #expect(result.errors.contains(part), "\(arguments): \(result.errors)")
        }
    }
}
