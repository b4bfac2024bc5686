internal import Foundation
internal import TransfusionConfig
internal import TransfusionTelemetry

/// Tells what training does: metrics.jsonl, TensorBoard and the console on rank 0, heartbeats on every rank.
final class StepReporter {
    private let configuration: RunConfiguration
    private let directory: RunDirectory
    private let rank: Int
    private let timer: PhaseTimer
    private let print: (String) -> Void
    private var console: StepConsole
    private var sinks: Sinks?
    private var heartbeats: HeartbeatWriter?
    private var lastReport = ContinuousClock.now
    private var lastReportedStep = 0

    private struct Sinks: ~Copyable {
        var metrics: MetricsLog
        var events: TensorBoardEvents?
    }

    init(
        _ configuration: RunConfiguration, directory: RunDirectory, rank: Int, timer: PhaseTimer,
        log: @escaping (String) -> Void
    ) {
        self.configuration = configuration
        self.directory = directory
        self.rank = rank
        self.timer = timer
        print = log
        console = StepConsole(totalSteps: configuration.schedule.steps)
    }

    /// Says something to the person who looks on; silent on all ranks but 0.
    func log(_ line: String) {
        if rank == 0 { print(line) }
    }
}
