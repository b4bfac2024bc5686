import Foundation
import Testing
import TransfusionCoordinator
import TransfusionCore
import TransfusionModels
import _TestUtilities

/// `tf-coord plan` as a process, with rates from a file.
@Suite(.timeLimit(.minutes(5))) struct PlanCommandTests {
    private let coordinator = Command("tf-coord")
    private let directory: TemporaryDirectory

    init() throws {
        directory = try TemporaryDirectory()
        try JSONEncoder().encode(MachineRates.example).write(to: URL(filePath: directory.file("rates.json")))
        try """
        name: planned
        model: {preset: tiny, patch: 2}
        data: {path: \(directory.file("nowhere"))}
        schedule: {steps: 5000}
        batch: {sequence_length: 1024, global_sequences: 64}
        """.write(toFile: directory.file("run.yaml"), atomically: true, encoding: .utf8)
    }

    private func plan(_ arguments: String..., config: String? = nil) throws -> Command.Result {
        try coordinator.run(["plan", config ?? directory.file("run.yaml")] + arguments)
    }

    private func plan(arguments: [String]) throws -> Command.Result {
        try coordinator.run(["plan", directory.file("run.yaml")] + arguments)
    }

    @Test func jsonHoldsEveryLayoutByClassAndPart() throws {
        let result = try plan(
            "--hosts", "2", "--cores", "4", "--memory", "32", "--rates", directory.file("rates.json"), "--json")
        #expect(result.status == 0, "\(result.errors)")
        let report = try CoordinatorJSON.decode(PlanReport.self, from: Data(result.output.utf8))
        #expect(report.run == "planned" && report.machine == MachineRates.example)
        #expect(report.model.vocabulary == 32002 && report.model.patchesPerImage == 256)
        #expect(report.rows.count == 6 && report.rejected.isEmpty)
        for layout in report.rows.map(\.layout) {
            #expect(layout.memory.classes.allSatisfy { $0.bytes > 0 })
            #expect(abs(layout.step.total / layout.stepSeconds - 1) < 1e-9)
        }
    }

    @Test func anAutoencoderIsPlannedWithAllThatIsTrainedBesideIt() throws {
        try """
        name: coder
        task: autoencoder
        autoencoder: {preset: small}
        data: {path: \(directory.file("nowhere"))}
        schedule: {steps: 5000}
        batch: {global_sequences: 64, micro_sequences: 4}
        """.write(toFile: directory.file("coder.yaml"), atomically: true, encoding: .utf8)
        func result(_ arguments: [String]) throws -> Command.Result {
            let cluster = ["--hosts", "2", "--cores", "4", "--memory", "32", "--rates", directory.file("rates.json")]
            return try coordinator.run(["plan", directory.file("coder.yaml")] + cluster + arguments)
        }
        let small = ["--image", "3x64x64"]
        func report(_ arguments: [String]) throws -> PlanReport {
            let answer = try result(small + ["--json"] + arguments)
            #expect(answer.status == 0, "\(answer.errors)")
            // Attention alone is not computed again.
            #expect(answer.output.contains("\"recompute\"") && !answer.output.contains("\"selective\""))
            return try CoordinatorJSON.decode(PlanReport.self, from: Data(answer.output.utf8))
        }
        let plain = try report([])
        #expect(plain.model.autoencoder == "autoencoder small, kl, pictures of 64 × 64 to latents of 16 × 16")
        #expect(plain.tokensPerStep == 64 * 256 && plain.model.heads == nil)
        #expect(plain.rows.map(\.layout.data).sorted() == [2, 4, 8])
        #expect(plain.rows.allSatisfy { $0.layout.choice.tensor == 1 })
        let against = try report(["--set", "discriminator.start=100", "--set", "objective.perceptual_network=vgg.pth"])
        #expect(against.model.autoencoder?.hasSuffix("with a discriminator, LPIPS") == true)
        for (one, other) in zip(plain.rows, against.rows) {
            #expect(other.layout.step.compute > 1.3 * one.layout.step.compute)
            #expect(other.layout.memory.total > one.layout.memory.total)
        }
        let text = try result(small)
        #expect(text.output.contains("pictures of 3 × 64 × 64 are assumed") && text.output.contains("latents a step"))
        let split = try result(small + ["--layouts", "2x2"])
        #expect(
            split.status == 2
                && split.errors.contains(
                    "2x2 is not possible for an autoencoder, which no ranks share, and 16 micro-batches")
        )
        let odd = try result(["--image", "3x62x62"])
        #expect(
            odd.status == 2 && odd.errors.contains("--image: has pictures of 62 × 62, and autoencoder.preset small"))
    }

    @Test func theDataSetSaysVocabularyAndImages() throws {
        let dataset = try SmallDataset()
        let result = try plan(
            "--set", "data.path=\(dataset.path)", "--hosts", "1", "--cores", "2", "--memory", "8", "--rates",
            directory.file("rates.json"))
        #expect(result.status == 0, "\(result.errors)")
        let lines = result.output.split(separator: "\n")
        #expect(lines[0].contains("data set \(dataset.path): ") && lines[0].contains("rates from"))
        #expect(!lines[0].contains("32002"))
        #expect(lines.contains { $0.hasPrefix("data × tensor") && $0.contains("tokens/day") })
    }

    @Test func allThatReadAConfigurationSayTheEpochsOfEachSource() throws {
        let sets = try [SmallDataset(), SmallDataset(shift: 1)]
        defer { withExtendedLifetime(sets) {} }
        let sources = "[{path: \(sets[0].path)}, {path: \(sets[1].path), weight: 3, from_step: 100}]"
        let set = ["--set", "data.path=none", "--set", "data.sources=\(sources)", "--set", "schedule.warmup_steps=10"]
        let run = directory.file("run.yaml")
        let plan = try plan(
            arguments: set + ["--hosts", "1", "--cores", "2", "--memory", "8", "--rates", directory.file("rates.json")])
        let config = try coordinator.run(["config", run] + set)
        let inspected = try Command("tf-data").run(["inspect", run] + set)
        for (result, text) in [(plan, plan.output), (config, config.errors), (inspected, inspected.output)] {
            #expect(result.status == 0, "\(result.errors)")
            for set in sets {
                let line = text.split(separator: "\n").first { $0.contains("\(set.path), digest ") }
                #expect(
                    line?.contains(/: \S+ epochs of its 24 pairs, \S+ epochs of its text in 5000 steps$/) == true,
                    "\(text)")
            }
            #expect(
                text.contains("from step 100 on: ") && text.contains("75 % of the pairs and 75 % of the text"),
                "\(text)")
        }
        let json = try Command("tf-data").run(["inspect", run, "--json"] + set)
        #expect(json.status == 0, "\(json.errors)")
        let report = try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [String: Any]
        #expect((report?["sources"] as? [[String: Any]])?.count == 2 && (report?["phases"] as? [Any])?.count == 2)
        let missing = try coordinator.run(["config", run])
        #expect(missing.status == 0 && missing.errors.contains("is not here"))
    }

    /// The largest model and run that a configuration can name, on the slowest and on the fastest cluster.
    @Test(arguments: [
        ["--bandwidth", "1e-6", "--latency", "1e9", "--checkpoint-rate", "1e-6", "--mtbf", "1e9", "--memory", "1e6"],
        ["--bandwidth", "1e6", "--latency", "0", "--checkpoint-rate", "1e6", "--mtbf", "1e-6", "--memory", "1"],
    ]) func theLargestNumbersAreReckonedWith(_ options: [String]) throws {
        try """
        name: huge
        model: {layers: 1024, width: 65536, heads: 1024, ffn: 262144, patch: 256}
        data: {path: \(directory.file("nowhere"))}
        schedule: {steps: 1000000000}
        batch: {sequence_length: 1048576, global_sequences: 1048576, micro_sequences: 1}
        parallel: {reduction: elastic}
        """.write(toFile: directory.file("huge.yaml"), atomically: true, encoding: .utf8)
        let arguments = options + ["--hosts", "2", "--cores", "2", "--rates", directory.file("rates.json")]
        let large = ["--image", "4096x256x256", "--vocabulary", "\(1 << 20)"]
        for (config, image) in [("huge.yaml", large), ("run.yaml", [])] {
            for format in [[], ["--json"]] {
                let result = try coordinator.run(["plan", directory.file(config)] + arguments + image + format)
                #expect(result.status == 0, "\(config): \(result.errors)")
            }
        }
    }

    @Test func wrongUseIsOneLine() throws {
        let rates = directory.file("rates.json"), broken = directory.file("broken.json")
        try "{}".write(toFile: broken, atomically: true, encoding: .utf8)
        let cluster = ["--hosts", "2", "--cores", "4", "--memory", "32"]
        for (arguments, part) in [
            (["--hosts", "2", "--cores", "4"], "--memory"),
            (["--hosts", "0", "--cores", "4", "--memory", "1"], "--hosts"),
            (cluster + ["--rates", broken], "tf-bench rates --json"), (cluster + ["--rates", "missing"], "missing"),
            (cluster + ["--rates", rates, "--layouts", "3y1"], "--layouts"),
            (cluster + ["--rates", rates, "--layouts", "300x1"], "300x1 is not possible"),
            (cluster + ["--rates", rates, "--set", "precision=f32"], "measured in bf16"),
            (cluster + ["--rates", rates, "--checkpoint-rate", "1e-300"], "--checkpoint-rate"),
            (cluster + ["--rates", rates, "--bandwidth", "1e-300"], "--bandwidth"),
            (cluster + ["--rates", rates, "--latency", "1e300"], "--latency"),
            (cluster + ["--rates", rates, "--mtbf", "1e300"], "--mtbf"),
            (cluster + ["--rates", rates, "--image", "8x32"], "--image"),
            (cluster + ["--rates", rates, "--image", "8x31x32"], "model.patch"),
        ] {
            let result = try coordinator.run(["plan", directory.file("run.yaml")] + arguments)
            #expect(result.status == 2, "\(arguments): \(result.errors)")
            #expect(result.errors.contains(part), "\(arguments): \(result.errors)")
            #expect(result.errors.split(separator: "\n").count == 1)
        }
    }
}
