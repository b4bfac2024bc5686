import Foundation
import Testing
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
        status.losses = .init(total: .nan, text: 1, image: .infinity, gradientNorm: 0.5, learningRate: 1e-3)
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
