import Foundation
import Testing
import TransfusionCheckpoint
import TransfusionCore
import _TestUtilities

/// tf-worker as a process, alone and under mpirun.
@Suite(.serialized, .oneSuiteAtATime, .timeLimit(.minutes(10))) struct WorkerCommandTests {
    private let worker = Command("tf-worker")
    private let dataset: SmallDataset
    private let directory: TemporaryDirectory

    init() throws {
        dataset = try SmallDataset()
        directory = try TemporaryDirectory()
        try """
        model: {layers: 2, width: 32, heads: 2, ffn: 48, patch: 2}
        data: {path: \(dataset.path)}
        schedule: {steps: 20, learning_rate: 3e-3, minimum_learning_rate: 1e-4, warmup_steps: 3}
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
        try loggedLosses(ofRun: directory.file(run))
    }

    private func exists(_ path: String) -> Bool { FileManager.default.fileExists(atPath: directory.file(path)) }

    @Test func trainsAlone() throws {
        let result = try worker.run(arguments("alone"))
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output.contains("step 20/20"))
        #expect(try losses("alone").count == 20)
        for path in ["run.yaml", "checkpoints/step-00000020/manifest.json", "samples/step-00000006/000000.png"] {
            #expect(exists("alone/" + path), "\(path) is missing")
        }
    }

    @Test func aRunThatIsDoneSaysThatNothingIsLeftToDo() throws {
        #expect(try worker.run(arguments("done", "--steps", "8")).status == 0)
        for (more, line) in [
            (["--steps", "8"], "nothing to do: 8 steps are done, and the last step is 8\n"),
            (["--steps", "3"], "nothing to do: 8 steps are done, and the last step is 3\n"),
        ] {
            let again = try worker.run(arguments("done") + more)
            #expect(again.status == 0 && again.output.contains(line), "\(again)")
        }
        #expect(try worker.run(arguments("done")).output.contains("nothing to do") == false)
        let over = try worker.run(arguments("done"))
        #expect(over.output.contains("nothing to do: 20 steps are done, and schedule.steps is 20\n"), "\(over)")
    }

    @Test func aRunIsTunedOnOtherDataByOneCommand() throws {
        #expect(try worker.run(arguments("first", "--steps", "8")).status == 0)
        let other = try SmallDataset(shift: 5)
        let result = try worker.run([
            "--config", directory.file("first/run.yaml"), "--run-dir", directory.file("tuned"), "--set", "name=tuned",
            "--set",
            "model.initial_weights=\(directory.file("first"))", "--set", "data.path=\(other.path)", "--set",
            "schedule.steps=4", "--set", "schedule.warmup_steps=1",
        ])
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output.contains("starting from the weights of \(directory.file("first"))"), "\(result.output)")
        #expect(try losses("tuned").count == 4 && losses("first").count == 8)
        // It begins where the first has come to.
        #expect(try losses("tuned")[0] < losses("first")[0])
    }

    @Test(arguments: ["exp=3e-4,bs=8", "_exp1", "my train (2)"])
    func aConfigurationWithAnOddNameGoesOnAndMayBeRenamed(_ name: String) throws {
        let file = directory.file(name + ".yaml"), renamed = directory.file(name + " 2.yaml")
        try FileManager.default.copyItem(atPath: directory.file("run.yaml"), toPath: file)
        try FileManager.default.copyItem(atPath: file, toPath: renamed)
        for (file, steps) in [(file, 4), (file, 6), (renamed, 8)] {
            let result = try worker.run("--config", file, "--run-dir", directory.file("odd"), "--steps", "\(steps)")
            #expect(result.status == 0, "\(result)")
        }
        #expect(try losses("odd").count == 8)
        let supervised = try Command("tf-coord").run(
            "run", file, "--ranks", "1", "--run-dir", directory.file("odd"), "--set", "schedule.steps=20")
        #expect(supervised.status == 0, "\(supervised)")
    }

    @Test func trainsOnWhereItsWordsCannotBeWritten() throws {
        let end = try worker.runWithoutRoomForOutput(arguments("mute"))
        #expect(end.status == 0 && end.signal == nil, "\(end)")
        #expect(try losses("mute").count == 20)
    }

    @Test(arguments: [2, 4]) func trainsUnderMPIRun(_ ranks: Int) throws {
        #expect(try worker.run(arguments("alone")).status == 0)
        let result = try Command.onPath("mpirun").run(
            ["-n", "\(ranks)"] + Self.launch + [worker.path] + arguments("together"), environment: Self.environment)
        #expect(result.status == 0, "\(result.errors)")
        let alone = try losses("alone"), together = try losses("together")
        #expect(together.count == 20)
        #expect(zip(together, alone).allSatisfy { abs($0 - $1) <= 1e-5 * abs($1) }, "\(together) is not \(alone)")
    }

    @Test func ranksOfDifferentBuildsAreRefused() throws {
        // The same program to all but its digest, as another compiler might have made it.
        let other = directory.file("tf-worker")
        try FileManager.default.copyItem(atPath: worker.path, toPath: other)
        let file = try #require(FileHandle(forWritingAtPath: other))
        try file.seekToEnd()
        try file.write(contentsOf: Data([0]))
        try file.close()
        let ranks = Self.launch + ["-n", "1", worker.path] + arguments("mixed") + [":", "-n", "1", other]
        let result = try Command.onPath("mpirun").run(ranks + arguments("mixed"), environment: Self.environment)
        #expect(result.status == 2 && result.errors.contains("the ranks are of different builds"), "\(result)")
        #expect(!exists("mixed"))
    }

    /// Two hosts that share nothing but the disk: their ranks reach each other over TCP.
    @Test(.enabled(if: NetworkHosts.obstacle == nil, "\(NetworkHosts.obstacle ?? "")"))
    func trainsOnTwoHosts() throws {
        #expect(try worker.run(arguments("alone")).status == 0)
        let result = try NetworkHosts(2).runRanks([worker.path] + arguments("hosts"))
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output.contains("2 on 2 hosts"), "\(result.output)")
        let alone = try losses("alone"), apart = try losses("hosts")
        #expect(apart.count == 20)
        #expect(zip(apart, alone).allSatisfy { abs($0 - $1) <= 1e-5 * abs($1) }, "\(apart) is not \(alone)")
    }

    @Test func aSignalToOneRankStopsAll() throws {
        let set = ["--set", "schedule.steps=100000", "--set", "checkpoint.every_steps=100000"]
        let job = try Command.onPath("mpirun").start(
            ["-n", "2"] + Self.launch + [worker.path] + arguments("stopped") + set, environment: Self.environment)
        let heartbeat = directory.file("stopped/heartbeats/rank-00001.json")
        let deadline = Date(timeIntervalSinceNow: 120)
        var pid: Int32?
        // Once a step is recorded the rank trains, and its heartbeat says which process it is.
        while pid == nil, Date() < deadline, job.isRunning {
            usleep(50_000)
            guard (try? losses("stopped"))?.isEmpty == false, let data = FileManager.default.contents(atPath: heartbeat)
            else { continue }
            pid = (try? JSONSerialization.jsonObject(with: data) as? [String: Any])?["pid"] as? Int32
        }
        kill(try #require(pid), SIGTERM)
        let result = try job.wait()
        #expect(result.status == 85, "\(result.errors)")
        let steps = try losses("stopped").count
        let name = "step-" + String(repeating: "0", count: 8 - String(steps).count) + "\(steps)"
        #expect(exists("stopped/checkpoints/\(name)/manifest.json"))
    }

    @Test func twoJobsDoNotTrainInOneDirectory() throws {
        let forever = arguments("shared") + ["--set", "schedule.steps=1000000"]
        let first = try worker.start(forever)
        let deadline = Date(timeIntervalSinceNow: 120)
        while (try? losses("shared"))?.isEmpty != false, Date() < deadline, first.isRunning { usleep(50_000) }
        let second = try worker.run(forever)
        #expect(second.status == 2 && second.errors.contains("process \(first.pid) trains this run"), "\(second)")
        #expect(first.isRunning)
        // One that was killed is in nobody's way, even before its parent has seen its end.
        kill(first.pid, SIGKILL)
        let third = try worker.start(forever)
        let steps = try losses("shared").count
        while try losses("shared").count <= steps, Date() < deadline, third.isRunning { usleep(50_000) }
        third.send(SIGTERM)
        let end = try third.wait()
        #expect(end.status == 85, "\(end)")
        _ = try first.wait()
    }

    @Test func aRunThatIsKilledWhileItSavesGoesOnWithTheSameBits() throws {
        #expect(try worker.run(arguments("whole")).status == 0)
        let set = ["--set", "checkpoint.every_steps=1", "--set", "checkpoint.compression=19"]
        let checkpoints = directory.file("killed/checkpoints")
        var kills = 0
        // Each time a later save is interrupted: the files are there under another name, the checkpoint is not.
        for step in [2, 5, 8] {
            let run = try worker.start(arguments("killed") + set)
            func isSaving() -> Bool {
                let names = (try? FileManager.default.contentsOfDirectory(atPath: checkpoints)) ?? []
                return names.contains { $0.hasSuffix(".partial") && $0 > "step-0000000\(step)" }
            }
            let deadline = Date(timeIntervalSinceNow: 120)
            while run.isRunning, !isSaving(), Date() < deadline { usleep(200) }
            run.send(SIGKILL)
            _ = try run.wait()
            if isSaving() { kills += 1 }
        }
        #expect(kills > 0, "no save was interrupted")
        let result = try worker.run(arguments("killed") + set)
        #expect(result.status == 0, "\(result.errors)")
        #expect(result.output.contains("resuming from step"))
        #expect(try losses("killed") == losses("whole"))
        let same = try Command("tf-ckpt").run("diff", directory.file("whole"), directory.file("killed"))
        #expect(same.status == 0, "\(same.output)")
    }

    @Test func encryptedCheckpointsOpenWithTheirKey() throws {
        let key = directory.file("key")
        try String(repeating: "7a", count: 32).write(toFile: key, atomically: true, encoding: .utf8)
        let trained = try worker.run(arguments("locked", "--set", "checkpoint.encryption_key_file=\(key)"))
        #expect(trained.status == 0, "\(trained.errors)")
        let batch = directory.file("batch.safetensors")
        try SafetensorsWriter().write(
            [
                SafetensorsTensor("tokens", .i32, [3], [1, 5, 6] as [Int32]),
                SafetensorsTensor("document_starts", .i32, [1], [0] as [Int32]),
            ], to: batch)
        let run = directory.file("locked")
        let out = directory.file("out.safetensors")
        for (command, arguments) in [
            ("tf-eval", ["forward", "--checkpoint", run, "--batch", batch, "--out", out]),
            ("tf-sample", ["text", "--checkpoint", run, "--prompt", "red", "--max-tokens", "2"]),
            ("tf-ckpt", ["convert", run, directory.file("model"), "--to", "hf-llama"]),
        ] {
            let locked = try Command(command).run(arguments)
            #expect(locked.status == 2 && locked.errors.contains("TRANSFUSION_KEY_FILE"), "\(locked.errors)")
            let opened = try Command(command).run(arguments, environment: ["TRANSFUSION_KEY_FILE": key])
            #expect(opened.status == 0, "\(command): \(opened.errors)")
        }
        #expect(exists("model/tokenizer.model") && exists("locked/tokenizer.model"))
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
        try expect(["--config", directory.file("run.yaml"), "--run-dir", ""], 2, "--run-dir: is empty")
        try expect(arguments("a", "--steps", "0"), 2, "--steps")
        try expect(arguments("a", "--resume", "/nowhere"), 1, "/nowhere")
        try expect(arguments("a", "--expect-ranks", "2"), 2, "mpirun -n 2")
        // Two tasks that do not see each other would write into one directory.
        try expect(arguments("a"), 2, "--mpi=pmix", environment: ["SLURM_NTASKS": "2", "SLURM_PROCID": "0"])
        #expect(!exists("a/checkpoints/step-00000020"))
    }
}
