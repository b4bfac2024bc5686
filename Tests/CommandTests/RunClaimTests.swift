import Foundation
import Testing
import TransfusionCoordinator
import _TestUtilities

/// One job a run directory, and one run directory a job: tf-worker and tf-coord as processes.
@Suite(.serialized, .oneSuiteAtATime, .timeLimit(.minutes(10))) struct RunClaimTests {
    private let worker = Command("tf-worker")
    private let coordinator = Command("tf-coord")
    private let dataset: SmallDataset
    private let temporary: TemporaryDirectory

    init() throws {
        dataset = try SmallDataset()
        temporary = try TemporaryDirectory()
        try """
        model: {layers: 2, width: 32, heads: 2, ffn: 48, patch: 2}
        data: {path: \(dataset.path)}
        schedule: {steps: 1000000, learning_rate: 3e-3, minimum_learning_rate: 1e-4, warmup_steps: 3}
        batch: {sequence_length: 64, global_sequences: 4}
        parallel: {threads: 1}
        precision: f32
        checkpoint: {every_steps: 50}
        telemetry: {tensorboard: false}
        """.write(toFile: temporary.file("run.yaml"), atomically: true, encoding: .utf8)
    }

    private func arguments(_ run: String, _ more: [String] = []) -> [String] {
        ["--config", temporary.file("run.yaml"), "--run-dir", temporary.file(run)] + more
    }

    private func start(_ run: String, _ more: [String] = []) throws -> RunningCommand {
        try worker.start(arguments(run, more))
    }

    private func supervise(_ run: String, _ more: [String] = []) throws -> RunningCommand {
        try coordinator.start(
            ["run", temporary.file("run.yaml"), "--ranks", "1", "--run-dir", temporary.file(run)] + more)
    }

    private func steps(_ run: String) -> [Int] {
        let text = (try? String(contentsOfFile: temporary.file(run) + "/metrics.jsonl", encoding: .utf8)) ?? ""
        return text.split(separator: "\n").compactMap { line in
            (try? JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any])?["step"] as? Int
        }
    }

    private func checkpoints(_ run: String) -> [String] {
        let names = try? FileManager.default.contentsOfDirectory(atPath: temporary.file(run) + "/checkpoints")
        return (names ?? []).sorted()
    }

    private func waitUntil(_ what: String, _ holds: () -> Bool) throws {
        let deadline = Date(timeIntervalSinceNow: 120)
        while !holds() {
            guard Date() < deadline else { throw Problem("\(what): not within 120 s") }
            usleep(20_000)
        }
    }

    @Test func ofTwoWorkersThatStartTogetherOneTrains() throws {
        for round in 1...3 {
            let run = "together-\(round)"
            let jobs = [try start(run), try start(run)]
            try waitUntil("one is refused") { jobs.contains { !$0.isRunning } }
            let loser = try #require(jobs.first { !$0.isRunning })
            let winner = try #require(jobs.first { $0.isRunning })
            let end = try loser.wait()
            #expect(end.status == 2 && end.errors.contains("process \(winner.pid) trains this run already"), "\(end)")
            try waitUntil("the other trains") { steps(run).count > 60 || !winner.isRunning }
            winner.send(SIGTERM)
            #expect(try winner.wait().status == 85)
            let done = steps(run)
            #expect(done == Array(1...done.count))
        }
    }

    @Test func aCoordinatorIsRefusedWhereAWorkerTrainsAndTheOtherWayRound() throws {
        let first = try start("worker")
        try waitUntil("it trains") { steps("worker").count > 5 }
        let refused = try supervise("worker").wait()
        #expect(
            refused.status == 2 && refused.errors.contains("process \(first.pid) trains this run already"), "\(refused)"
        )
        #expect(FileManager.default.fileExists(atPath: temporary.file("worker/heartbeats/rank-00000.json")))
        first.send(SIGTERM)
        #expect(try first.wait().status == 85)

        let second = try supervise("coordinator")
        try waitUntil("it trains") { steps("coordinator").count > 5 }
        let other = try start("coordinator").wait()
        #expect(
            other.status == 2 && other.errors.contains("another tf-coord supervises this run, process \(second.pid)"),
            "\(other)")
        // Also while it is gone and its ranks go on.
        second.send(SIGKILL)
        _ = try second.wait()
        let orphan = try start("coordinator").wait()
        #expect(orphan.status == 2 && orphan.errors.contains("trains this run already"), "\(orphan)")
        // The next coordinator takes them over, by whatever path it comes.
        try FileManager.default.createSymbolicLink(
            atPath: temporary.file("link"), withDestinationPath: temporary.file("coordinator"))
        let third = try supervise("link")
        try waitUntil("it supervises") { status("link")?.recoveries.count == 1 }
        #expect(status("link")?.recoveries.first?.cause.summary.contains("was taken over") == true)
        third.send(SIGTERM)
        #expect(try third.wait().status == 85)
    }

    private func status(_ run: String) -> RunStatus? {
        guard let result = try? coordinator.run("status", temporary.file(run), "--json"), result.status == 0 else {
            return nil
        }
        return try? CoordinatorJSON.decode(RunStatus.self, from: Data(result.output.utf8))
    }

    @Test(arguments: [false, true]) func aRunWhoseDirectoryIsReplacedLeavesTheNewOneAlone(supervised: Bool) throws {
        let old = supervised ? try supervise("run") : try start("run")
        try waitUntil("it trains") { steps("run").count > 60 }
        // Renamed first, as what is being written cannot be removed in one go.
        try FileManager.default.moveItem(atPath: temporary.file("run"), toPath: temporary.file("gone"))
        let new = try start("run", ["--set", "seed=7"])
        let end = try old.wait()
        #expect(end.status == 1, "\(end)")
        #expect(end.errors.contains("the directory was removed or renamed") || end.errors.contains("another directory"))
        try FileManager.default.removeItem(atPath: temporary.file("gone"))
        try waitUntil("the new one trains") { steps("run").count > 20 || !new.isRunning }
        new.send(SIGTERM)
        #expect(try new.wait().status == 85)
        let done = steps("run")
        #expect(done.first == 1 && done == Array(1...done.count))
        // What was trained is kept beside it, and goes on there.
        let names = try FileManager.default.contentsOfDirectory(atPath: temporary.path)
        let refuge = try #require(names.first { $0.hasPrefix("run.lost-") })
        #expect(end.errors.contains(refuge), "\(end.errors)")
        let kept = try #require(checkpoints(refuge).last.flatMap { Int($0.dropFirst(5)) })
        #expect(kept > 60)
        let goesOn = try worker.run(arguments(refuge, ["--steps", "\(kept + 2)"]))
        #expect(goesOn.status == 0 && goesOn.output.contains("resuming from step \(kept)"), "\(goesOn)")
    }

    @Test func aRunWhoseDirectoryIsRemovedDoesNotMakeItAnew() throws {
        let job = try start("run", ["--set", "checkpoint.every_steps=5"])
        try waitUntil("it trains") { steps("run").count > 20 }
        // A save that is being written makes files while they are removed.
        try waitUntil("it is removed") {
            try? FileManager.default.removeItem(atPath: temporary.file("run"))
            return !FileManager.default.fileExists(atPath: temporary.file("run"))
        }
        let end = try job.wait()
        #expect(
            end.status == 1 && end.errors.contains("removed") && end.errors.contains("while the run trained"),
            "\(end)")
        #expect(!FileManager.default.fileExists(atPath: temporary.file("run")))
    }

    @Test func aLockOrConfigurationThatIsRemovedEndsTheRun() throws {
        for (file, reason) in [("training.lock", "training.lock was removed"), ("run.yaml", "run.yaml was removed")] {
            let job = try start("of-" + file)
            try waitUntil("it trains") { steps("of-" + file).count > 5 }
            // A look at it comes at least with every save.
            usleep(2_500_000)
            try FileManager.default.removeItem(atPath: temporary.file("of-\(file)/\(file)"))
            let end = try job.wait()
            #expect(end.status == 1 && end.errors.contains(reason), "\(end)")
        }
    }
}
