import Foundation
import Synchronization
import TransfusionConfig
import TransfusionHTTP
import TransfusionTelemetry
import _TestUtilities

@testable import TransfusionCoordinator

/// One run with everything that a server shows, in which strangers have had a hand: scripts stand wherever text does.
final class ExampleRuns: RunControl {
    static let control = AccessTokens.generate(), viewer = AccessTokens.generate(), worker = AccessTokens.generate()
    /// Stands in everything that only who has a token may read.
    static let secret = "isInjected"
    static let script = "<script>window.\(secret) = 1</script><img src=x onerror='\(secret)=1'>"

    private let temporary: TemporaryDirectory
    private let tokens: AccessTokens
    private let noted = Mutex<[String]>([])
    private let failure = Mutex<(any Error)?>(nil)

    private var run: RunDirectory { RunDirectory(temporary.file("demo")) }
    /// A file that no request may reach.
    var outside: String { temporary.file("outside.png") }
    /// What requests have changed, in their order.
    var changes: [String] { noted.withLock(\.self) }

    init() throws {
        temporary = try TemporaryDirectory()
        var tokens = AccessTokens()
        tokens.add(Self.control, for: .control)
        tokens.add(Self.viewer, for: .viewer)
        tokens.add(Self.worker, for: .worker(run: "demo"))
        self.tokens = tokens
        let drawing = run.samples + "/step-00000010"
        for directory in [drawing, run.logs] {
            try FileManager.default.createDirectory(atPath: directory, withIntermediateDirectories: true)
        }
        try Data("PNG".utf8).write(to: URL(filePath: drawing + "/000000.png"))
        try "{\"prompt\": \"\(Self.script)\"}\n".write(
            toFile: drawing + "/prompts.jsonl", atomically: true, encoding: .utf8)
        try "\(Self.script)\n".write(toFile: run.logs + "/launch-0001.log", atomically: true, encoding: .utf8)
        let record = StepRecord(
            step: 10, tokens: 100, images: 1, loss: 1, losses: ["image": 1, "text": 1], gradientNorm: 1,
            learningRate: 1,
            stepSeconds: 1, tokensPerSecond: 1, modelFLOPsUtilization: 1, dataSeconds: 0, communicationSeconds: 0,
            waitSeconds: 0, memoryBytes: 1)
        try (record.json + "\n").write(toFile: run.metrics, atomically: true, encoding: .utf8)
        var prometheus = PrometheusMetrics()
        prometheus.observe(record)
        try prometheus.write(to: run.prometheus)
    }

    /// Serves while the body runs, which blocks.
    func serve(
        _ settings: CoordinatorServer.Settings = .init(), _ body: @escaping @Sendable (Int) throws -> Void
    ) async throws {
        try await CoordinatorServer(self, settings: settings).serve { ports in
            try await withCheckedThrowingContinuation { (continuation: CheckedContinuation<Void, any Error>) in
                // Not on a thread of the pool, which the server needs.
                Thread.detachNewThread { continuation.resume(with: Result { try body(ports.local) }) }
            }
        }
    }

    private var status: RunStatus {
        var status = RunStatus(run: "demo", directory: run.path, state: .running, time: 1000, step: 10, steps: 20)
        var heartbeat = Heartbeat(
            rank: 1, host: Self.script, pid: 1, step: 10, phase: .wait, phaseSeconds: 1, time: 999, memoryBytes: 1 << 30
        )
        heartbeat.collective = Self.script
        status.ranks = [.init(heartbeat, age: 1, condition: .stale)]
        status.warnings = [Self.script]
        let cause = FailureCause(.exit, rank: 1, summary: Self.script, details: [Self.script])
        status.recoveries = [.init(time: 900, launch: 1, cause: cause, detected: 1)]
        status.restarts = [.init(time: 900, launch: 1, step: 5, cause: cause)]
        return status
    }

    private func check(_ run: String) throws {
        guard run == "demo" else { throw RunControlError.unknownRun(run) }
    }

    private func note(_ change: String) { noted.withLock { $0.append(change) } }

    func runs() async -> [RunSummary] { [RunSummary(status)] }

    func status(of run: String) async throws -> RunStatus {
        try check(run)
        return status
    }

    func directory(of run: String) async throws -> RunDirectory {
        try check(run)
        return self.run
    }

    func receive(_ heartbeat: Heartbeat, launch: String, run: String) async throws -> HeartbeatAnswer {
        try check(run)
        note("heartbeat")
        return HeartbeatAnswer(stop: false)
    }

    /// What submitting a run ends with, instead of a summary.
    var submitFailure: (any Error)? {
        get { failure.withLock(\.self) }
        set { failure.withLock { $0 = newValue } }
    }

    func submit(_ submission: RunSubmission) async throws -> RunSummary {
        if let submitFailure { throw submitFailure }
        note("submit")
        return RunSummary(status)
    }

    func stop(_ run: String, now: Bool) async throws {
        try check(run)
        note("stop")
    }

    func resume(_ run: String) async throws {
        try check(run)
        note("resume")
    }

    func hosts() async -> [RunStatus.HostStatus] {
        [.init(name: Self.script, slots: 1, ranks: 1, condition: .used, failures: 0)]
    }

    func access(for token: String) async -> Access? { tokens.access(for: token) }

    func issueViewerToken(_ name: String, lifetime: Double?) async throws -> String {
        note("issue")
        return AccessTokens.generate()
    }

    func revokeViewerTokens(_ name: String) async throws { note("revoke") }
}
