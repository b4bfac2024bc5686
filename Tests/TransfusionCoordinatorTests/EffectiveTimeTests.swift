import Foundation
import Testing
import TransfusionConfig
import _TestUtilities

@testable import TransfusionCoordinator
@testable import TransfusionTelemetry

/// The share of the time in which steps were computed that count, whatever the clocks of people show.
@Suite struct EffectiveTimeTests {
    private let temporary: TemporaryDirectory

    init() throws { temporary = try TemporaryDirectory() }

    private func writeSteps(_ count: Int) throws {
        let lines = (1...count).map { step in
            StepRecord(
                step: step, tokens: 100, images: 1, loss: 1, losses: ["image": 0, "text": 1], gradientNorm: 1,
                learningRate: 1,
                stepSeconds: 1, tokensPerSecond: 1, modelFLOPsUtilization: 1, dataSeconds: 0, communicationSeconds: 0,
                waitSeconds: 0, memoryBytes: 1
            ).json
        }
        let directory = RunDirectory(temporary.file("run"))
        try (lines.joined(separator: "\n") + "\n").write(toFile: directory.metrics, atomically: true, encoding: .utf8)
    }

    @Test(arguments: [-1e7, -3600, 0, 3600, 1e9]) func aClockThatIsOffChangesNothing(_ error: Double) async throws {
        let files = RunFiles(RunDirectory(temporary.file("run")))
        try files.make()
        var state = SupervisorState(run: "run", directory: files.directory.path)
        // Started while the clock was off.
        state.started = Date().timeIntervalSince1970 + error
        state.wantedSeconds = 200
        try files.write(state, to: files.state, durable: false)
        try writeSteps(50)
        let supervisor = try RunSupervisor.example(in: temporary)
        await supervisor.refresh(force: true)
        let status = await supervisor.status()
        #expect(status.effectiveTrainingTimeRatio == 0.25 && status.elapsedSeconds == 200)
    }

    @Test func timeGoesOnByTheMonotonicClockUntilTheMachineIsStartedAnew() {
        func mark(_ boot: String, _ seconds: Double, _ time: Double) -> ClockMark {
            ClockMark(boot: boot, seconds: seconds, time: time)
        }
        let begin = mark("a", 100, 5000)
        #expect(begin.seconds(until: mark("a", 107, 1)) == 7, "set back")
        #expect(begin.seconds(until: mark("a", 107, 1e9)) == 7, "set forward")
        #expect(begin.seconds(until: mark("b", 3, 5060)) == 60, "started anew")
        #expect(begin.seconds(until: mark("b", 3, 4000)) == 0, "never less than nothing")
        var state = SupervisorState(run: "run", directory: "/run")
        #expect(state.wantedSeconds(until: begin) == nil)
        state.wantedSeconds = 10
        #expect(state.wantedSeconds(until: begin) == 10, "nobody wants it to go on")
        state.wantedSince = begin
        #expect(state.wantedSeconds(until: mark("a", 130, 0)) == 40)
    }
}
