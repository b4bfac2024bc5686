import Foundation
import Testing
import _TestUtilities

/// tf-worker as a process, alone and under mpirun.
@Suite(.serialized, .timeLimit(.minutes(5))) struct WorkerCommandTests {
    private let worker = Command("tf-worker")
    private let dataset: SmallDataset
    private let directory: TemporaryDirectory

    init() throws {
        dataset = try SmallDataset()
        directory = try TemporaryDirectory()
        try """
        model: {layers: 2, width: 32, heads: 2, ffn: 48, patch: 2}
        data: {path: \(dataset.path)}
        schedule: {steps: 12, learning_rate: 3e-3, minimum_learning_rate: 1e-4, warmup_steps: 3}
        batch: {sequence_length: 64, global_sequences: 4}
        parallel: {threads: 1}
        precision: f32
        samples: {every_steps: 6, prompts: [red circle], diffusion_steps: 4}
        """.write(toFile: directory.file("run.yaml"), atomically: true, encoding: .utf8)
    }

    private func arguments(_ run: String, _ more: String...) -> [String] {
        ["--config", directory.file("run.yaml"), "--run-dir", directory.file(run)] + more
    }

    /// What mpirun needs where ranks outnumber processors and a test may run as root.
    private static let launch = ["--oversubscribe", "--bind-to", "none", "--mca", "mpi_yield_when_idle", "1"]
    private static let environment = ["OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"]

    private func losses(_ run: String) throws -> [Double] {
        try String(contentsOfFile: directory.file(run) + "/metrics.jsonl", encoding: .utf8)
            .split(separator: "\n").compactMap { line in
                try (JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])?["loss"] as? Double
            }
    }

    private func exists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: directory.file(path)) }

    @Test func trainsAlone() throws {
        let result = try worker.run(arguments("alone"))
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output.contains("step 12/12"))
        #expect(try losses("alone").count == 12)
        for path in ["run.yaml", "checkpoints/step-00000012/manifest.json", "samples/step-00000006/000000.png"] {
            #expect(exists("alone/" + path), "\(path) is missing")
        }
    }

    @Test(arguments: [2, 4]) func trainsUnderMPIRun(_ ranks: Int) throws {
        #expect(try worker.run(arguments("alone")).status == 0)
        let result = try Command.onPath("mpirun").run(
            ["-n", "\(ranks)"] + Self.launch + [worker.path] + arguments("together"), environment: Self.environment)
        #expect(result.status == 0, "\(result.errors)")
        let alone = try losses("alone"), together = try losses("together")
        #expect(together.count == 12)
        #expect(zip(together, alone).allSatisfy { abs($0 - $1) <= 1e-5 * abs($1) }, "\(together) is not \(alone)")
    }

    @Test func aSignalToOneRankStopsAll() throws {
        let set = ["--set", "schedule.steps=100000", "--set", "checkpoint.every_steps=100000"]
        let process = Process()
        process.executableURL = URL(filePath: try Command.onPath("mpirun").path)
        process.arguments = ["-n", "2"] + Self.launch + [worker.path] + arguments("stopped") + set
        process.environment = ProcessInfo.processInfo.environment.merging(Self.environment) { $1 }
        process.standardOutput = FileHandle.nullDevice
        process.standardError = FileHandle.nullDevice
        try process.run()
        let heartbeat = directory.file("stopped/heartbeats/rank-00001.json")
        let deadline = Date(timeIntervalSinceNow: 120)
        var pid: Int32?
        // Once a step is recorded the rank trains, and its heartbeat says which process it is.
        while pid == nil, Date() < deadline, process.isRunning {
            usleep(50_000)
            guard (try? losses("stopped"))?.isEmpty == false, let data = FileManager.default.contents(atPath: heartbeat)
            else { continue }
            pid = (try? JSONSerialization.jsonObject(with: data) as? [String: Any])?["pid"] as? Int32
        }
        kill(try #require(pid), SIGTERM)
        process.waitUntilExit()
        #expect(process.terminationStatus == 85)
        let steps = try losses("stopped").count
        let name = "step-" + String(repeating: "0", count: 8 - String(steps).count) + "\(steps)"
        #expect(exists("stopped/checkpoints/\(name)/manifest.json"))
    }

    @Test func wrongUseIsOneLineEach() throws {
        func expect(_ arguments: [String], _ status: Int32, _ part: String, environment: [String: String] = [:]) throws
        {
            let result = try worker.run(arguments, environment: environment)
            #expect(result.status == status, "\(arguments): \(result.errors)")
            #expect(result.errors.contains(part), "\(arguments): \(result.errors)")
            #expect(result.errors.split(separator: "\n").allSatisfy { $0.hasPrefix("error: ") }, "\(result.errors)")
        }
        try expect(arguments("a", "--set", "model.widht=3"), 2, "width")
        try expect(arguments("a", "--set", "model.heads=5"), 2, "model.heads")
        try expect(arguments("a", "--set", "data.path=/nowhere"), 1, "/nowhere")
        try expect(["--config", "/nowhere.yaml", "--run-dir", directory.file("a")], 2, "/nowhere.yaml")
        try expect(arguments("a", "--steps", "0"), 2, "--steps")
        try expect(arguments("a", "--resume", "/nowhere"), 1, "/nowhere")
        try expect(arguments("a", "--expect-ranks", "2"), 2, "mpirun -n 2")
        // Two tasks that do not see each other would write into one directory.
        try expect(arguments("a"), 2, "--mpi=pmix", environment: ["SLURM_NTASKS": "2", "SLURM_PROCID": "0"])
        #expect(!exists("a/checkpoints/step-00000012"))
    }
}
