import Foundation
import Testing
import TransfusionConfig
import TransfusionTelemetry
import _TestUtilities

@testable import TransfusionCoordinator

/// What a status warns of while a run goes on.
@Suite struct WarningsTests {
    private let temporary: TemporaryDirectory

    init() throws { temporary = try TemporaryDirectory() }

    private func supervisor(_ supervision: String) throws -> RunSupervisor {
        try .example(in: temporary, adding: "supervision: {\(supervision)}")
    }

    private func writeLosses(_ losses: [Double], _ supervisor: RunSupervisor) throws {
        let lines = losses.enumerated().map { index, loss in
            StepRecord(
                step: index + 1, tokens: 100, images: 1, loss: loss, losses: ["image": 0, "text": loss],
                gradientNorm: 1,
                learningRate: 1, stepSeconds: 1, tokensPerSecond: 1, modelFLOPsUtilization: 1, dataSeconds: 0,
                communicationSeconds: 0, waitSeconds: 0, memoryBytes: 1
            ).json
        }
        try (lines.joined(separator: "\n") + "\n")
            .write(toFile: supervisor.directory.metrics, atomically: true, encoding: .utf8)
    }

    /// Losses that fall as in training, by noise apart.
    private let losses = (0..<200).map { (step: Int) -> Double in
        let time = Double(step)
        return 5 / (1 + 0.01 * time) + 0.05 * sin(7 * time)
    }

    @Test func aSpikeOfTheLossIsNamedForAWhile() async throws {
        let supervisor = try supervisor("free_disk: 0.001")
        var losses = losses
        losses[150] = 30
        try writeLosses(losses, supervisor)
        await supervisor.refresh()
        let warnings = await supervisor.status().warnings
        #expect(warnings.count == 1 && warnings[0].hasPrefix("the loss of step 151 is 7."), "\(warnings)")
        try writeLosses(losses + self.losses.suffix(20), supervisor)
        await supervisor.refresh(force: true)
        #expect(await supervisor.status().warnings == [])
    }

    @Test func aFallingLossIsNoSpike() async throws {
        let supervisor = try supervisor("free_disk: 0.001")
        try writeLosses(losses, supervisor)
        await supervisor.refresh()
        #expect(await supervisor.status().warnings == [])
    }

    @Test func aDiskThatFillsUpIsNamed() async throws {
        let free = try #require(RunSupervisor.freeGigabytes(at: temporary.path))
        let supervisor = try supervisor("free_disk: \(free * 2 + 1)")
        let warnings = await supervisor.status().warnings
        #expect(warnings.count == 1 && warnings[0].contains("less than supervision.free_disk"), "\(warnings)")
    }

    private func heartbeat(_ rank: Int, failedSaves: Heartbeat.FailedSaves?) -> Heartbeat {
        var heartbeat = Heartbeat(
            rank: rank, host: "node01", pid: getpid(), step: 45, phase: .compute, phaseSeconds: 0, time: 0,
            memoryBytes: 1)
        heartbeat.failedSaves = failedSaves
        return heartbeat
    }

    @Test func savesThatFailAreNamedUntilOneSucceeds() throws {
        let failed = Heartbeat.FailedSaves(count: 3, step: 40, reason: "/run: cannot create: No space left on device")
        let read = try Heartbeat(json: heartbeat(0, failedSaves: failed).json())
        #expect(read.failedSaves == failed)
        #expect(
            SaveWarnings.failures([read, heartbeat(1, failedSaves: failed)]) == [
                "the last 3 saves failed, of step 40 because of /run: cannot create: No space left on device; a restart would "
                    + "lose what was done since"
            ])
        #expect(SaveWarnings.failures([heartbeat(0, failedSaves: nil)]).isEmpty)
        // Heartbeats of a version that did not tell.
        #expect(try !String(decoding: heartbeat(0, failedSaves: nil).json(), as: UTF8.self).contains("failed_saves"))
    }

    @Test func filesThatRunOutAreNamed() {
        #expect(SaveWarnings.scarceFiles(free: 104, at: "/run", ranks: 1).isEmpty)
        let warnings = SaveWarnings.scarceFiles(free: 103, at: "/run", ranks: 1)
        #expect(warnings.count == 1 && warnings[0].contains("103 more files") && warnings[0].contains("df -i"))
    }
}
