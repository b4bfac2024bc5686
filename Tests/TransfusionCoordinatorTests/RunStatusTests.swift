import Foundation
import Testing
import TransfusionCheckpoint
import TransfusionConfig
import TransfusionSupport
import TransfusionTelemetry
import _TestUtilities

@testable import TransfusionCoordinator

@Suite struct RunStatusTests {
    private var status: RunStatus {
        var status = RunStatus(
            run: "quickstart", directory: "/runs/quickstart", state: .recovering, time: 1000, step: 850, steps: 1700)
        var heartbeat = Heartbeat(
            rank: 1, host: "node02", pid: 42, step: 850, phase: .wait, phaseSeconds: 3, time: 999, memoryBytes: 1 << 30)
        heartbeat.collective = "end of backward"
        heartbeat.collectiveSeconds = 2.5
        status.ranks = [.init(heartbeat, age: 1, condition: .stale)]
        let cause = FailureCause(.signal, rank: 1, signal: "SIGKILL", summary: "rank 1 was killed")
        status.restarts = [.init(time: 990, launch: 1, step: 840, cause: cause)]
        status.recoveries = [.init(time: 990, launch: 1, cause: cause, detected: 0.4)]
        var losses = RunStatus.Losses(Self.record(850))
        losses.total = .nan
        losses.parts = ["next_token": 1, "image": .infinity]
        status.losses = losses
        return status
    }

    @Test func isReadBackAsItWasWritten() throws {
        let data = try CoordinatorJSON.encode(status)
        let read = try CoordinatorJSON.decode(RunStatus.self, from: data)
        #expect(read.losses?.total.isNaN == true)
        var comparable = read, expected = status
        comparable.losses?.total = 0
        expected.losses?.total = 0
        #expect(comparable == expected)
    }

    @Test func hasTheKeysThatScriptsReadInSnakeCase() throws {
        let object = try JSONSerialization.jsonObject(with: CoordinatorJSON.encode(status)) as? [String: Any]
        let rank = try #require((object?["ranks"] as? [[String: Any]])?.first)
        #expect(object?["state"] as? String == "recovering")
        #expect(object?["percent"] as? Double == 50)
        #expect(rank["phase_seconds"] as? Double == 2.5)
        #expect(rank["heartbeat_age"] as? Double == 1)
        #expect(rank["condition"] as? String == "STALE")
        let restart = try #require((object?["restarts"] as? [[String: Any]])?.first)
        #expect((restart["cause"] as? [String: Any])?["signal"] as? String == "SIGKILL")
    }

    private static func record(_ step: Int) -> StepRecord {
        StepRecord(
            step: step, tokens: 100, images: 1, loss: 1, losses: ["image": 1, "text": 1], gradientNorm: 1,
            learningRate: 1,
            stepSeconds: 1, tokensPerSecond: 1, modelFLOPsUtilization: 1, dataSeconds: 0, communicationSeconds: 0,
            waitSeconds: 0, memoryBytes: 1)
    }

    /// What the files tell of a run of 5000 steps that no coordinator supervises.
    private func statusFromFiles(
        step: Int, _ phase: Phase, heartbeatAge: Double, isSaved: Bool = false, isStartedByCoordinator: Bool = false,
        failedSaves: Heartbeat.FailedSaves? = nil
    ) throws -> RunStatus {
        let temporary = try TemporaryDirectory()
        let files = RunFiles(RunDirectory(temporary.file("run")))
        try files.make()
        let request = try RunRequest.example("run")
        try request.configuration.write(
            toFile: files.directory.configuration, atomically: true, encoding: .utf8)
        let record = Self.record(step)
        try (record.json + "\n").write(toFile: files.directory.metrics, atomically: true, encoding: .utf8)
        for rank in 0..<2 {
            var heartbeat = Heartbeat(
                rank: rank, host: "node01", pid: 42, step: step, phase: phase, phaseSeconds: 0,
                time: Date().timeIntervalSince1970 - heartbeatAge, memoryBytes: 1)
            heartbeat.failedSaves = failedSaves
            try heartbeat.json().write(
                to: URL(filePath: Heartbeat.file(rank: rank, in: files.directory.heartbeats)))
        }
        if isSaved {
            try CheckpointStore(files.directory.checkpoints).save(
                step: step, metadata: CheckpointMetadata(model: .object([:])), pieces: [])
        }
        if isStartedByCoordinator { try files.write(request, to: files.request, durable: false) }
        return try files.readStatus()
    }

    @Test func filesTellWhetherARunHasEnded() throws {
        let done = try statusFromFiles(step: 5000, .finished, heartbeatAge: 3, isSaved: true)
        #expect(done.state == .done && done.step == 5000 && done.percent == 100 && done.warnings.isEmpty)
        #expect(done.version == ProductVersion.full)
        #expect(StatusText(done).table.contains("\ntransfusion \(ProductVersion.full)\n"))
        // The last checkpoint may still be written.
        #expect(try statusFromFiles(step: 5000, .checkpoint, heartbeatAge: 3, isSaved: true).state == .running)
        for step in [10, 5000] {
            let stopped = try statusFromFiles(step: step, .finished, heartbeatAge: 100)
            #expect(stopped.state == .stopped)
            #expect(stopped.warnings == ["all ranks have ended, without a checkpoint of the last step"])
        }
        #expect(try statusFromFiles(step: 10, .compute, heartbeatAge: 100).state == .running)
    }

    @Test func filesTellOfSavesThatFail() throws {
        let failed = Heartbeat.FailedSaves(count: 2, step: 8, reason: "the disk is full")
        let warnings = try statusFromFiles(step: 10, .compute, heartbeatAge: 1, failedSaves: failed).warnings
        #expect(
            warnings.filter { $0.contains("the last 2 saves failed") && $0.contains("the disk is full") }.count == 1)
    }

    @Test func resumeIsAdvisedWhereItWouldWork() throws {
        for (phase, age) in [(Phase.finished, 100.0), (.compute, 100), (.compute, 1)] {
            let own = try statusFromFiles(step: 10, phase, heartbeatAge: age, isStartedByCoordinator: true)
            #expect(own.warnings.count == 1 && own.warnings[0].contains("'tf-coord resume \(own.directory)'"))
            let other = try statusFromFiles(step: 10, phase, heartbeatAge: age)
            #expect(other.warnings.count == 1 && !other.warnings[0].contains("resume"))
        }
    }

    @Test func logsAreReadInWholeLines() throws {
        let directory = try TemporaryDirectory()
        let path = directory.file("log")
        try "one\ntwo\nthr".write(toFile: path, atomically: true, encoding: .utf8)
        let first = try #require(LogPart(of: path, from: 0))
        #expect(first == LogPart(text: "one\ntwo\n", next: 8))
        #expect(LogPart(of: path, from: first.next) == LogPart(text: "", next: 8))
        #expect(LogPart(of: path, from: -7)?.text == "two\n")
        #expect(LogPart(of: directory.file("none"), from: 0) == nil)
    }
}
