internal import Foundation
internal import TransfusionConfig
internal import TransfusionCore
internal import TransfusionModels
internal import TransfusionTelemetry

/// Tells what training does: metrics.jsonl, TensorBoard, Prometheus and the console, all on rank 0.
final class StepReporter {
    private let configuration: RunConfiguration
    private let directory: RunDirectory
    private let rank: Int
    private let timer: PhaseTimer
    private let print: (String) -> Void
    private var console: StepConsole
    private var metrics: MetricsLog?
    private var events: TensorBoardEvents?
    private var prometheus = PrometheusMetrics()
    private var lastReport = ContinuousClock.now
    private var stepsSinceReport = 0
    private var countsSinceReport = BatchCounts()
    private var operationsSinceReport = 0.0
    /// What could not be written the last time.
    private var failing: Set<String> = []

    init(
        _ configuration: RunConfiguration, directory: RunDirectory, rank: Int, timer: PhaseTimer,
        print: @escaping (String) -> Void
    ) {
        self.configuration = configuration
        self.directory = directory
        self.rank = rank
        self.timer = timer
        self.print = print
        console = StepConsole(totalSteps: configuration.schedule.steps)
    }

    /// Says something to the person who looks on; silent on all ranks but 0.
    func log(_ line: String) {
        if rank == 0 { print(line) }
    }

    /// Opens the logs of a run; records of later steps than `step` are dropped, as these are done again.
    func begin(after step: Int) throws {
        lastReport = .now
        _ = timer.takeSeconds()
        guard rank == 0 else { return }
        metrics = try MetricsLog(directory.metrics, continuingAfter: step)
        if configuration.telemetry.tensorBoard {
            events = try TensorBoardEvents(directory: directory.events, continuingAfter: step)
        }
    }

    /// Reports a step that is done; all ranks call it. Records cover the steps since the record before, which the state then
    /// begins to count anew.
    /// - Parameters:
    ///   - validation: Losses on other data, which are recorded at once.
    ///   - keeping: Whether rank 0 may write them: not when the run's directory is another's.
    func report(
        _ summary: StepSummary, _ state: TrainingState, _ utilization: Utilization, validation: [NamedSum]?,
        keeping: Bool
    ) throws {
        stepsSinceReport += 1
        countsSinceReport.add(summary.counts)
        operationsSinceReport += summary.operations
        let isLast = summary.step + 1 == configuration.schedule.steps
        guard (summary.step + 1) % configuration.telemetry.logEverySteps == 0 || isLast || validation != nil
        else { return }
        // Measuring is no part of a step.
        let times = timer.takeSeconds(), logged = state.logged
        let interval = (.now - lastReport) / .seconds(1) - (times[.validation] ?? 0)
        let seconds = interval / Double(stepsSinceReport)
        let counts = countsSinceReport
        let spent = times.mapValues { $0 / Double(stepsSinceReport) }
        let processors = try utilization.take(rate: operationsSinceReport / interval, seconds: interval)
        let record = StepRecord(
            step: summary.step + 1, tokens: state.tokens, images: state.images,
            loss: logged.losses.loss, losses: logged.losses.means, gradientNorm: logged.meanGradientNorm,
            learningRate: summary.learningRate,
            stepSeconds: seconds, tokensPerSecond: Double(counts.tokens) / interval,
            modelFLOPsUtilization: processors.utilization, othersShare: processors.othersShare,
            dataSeconds: spent[.data] ?? 0, communicationSeconds: spent[.communication] ?? 0,
            waitSeconds: spent[.wait] ?? 0, memoryBytes: ProcessMemory.residentBytes,
            textToImageRatio: counts.patches > 0
                ? Double(counts.tokens - counts.patches) / Double(counts.patches) : .nan,
            padding: counts.rows > 0 ? 1 - Double(counts.tokens) / Double(counts.rows) : .nan,
            validation: validation.map { StepRecord.Validation(loss: $0.loss, losses: $0.means) },
            changes: logged.changes)
        // Nor is asking for the processors' use.
        _ = timer.takeSeconds()
        lastReport = .now
        state.logged = LoggedInterval()
        stepsSinceReport = 0
        countsSinceReport = BatchCounts()
        operationsSinceReport = 0
        guard rank == 0, keeping else { return }
        prometheus.observe(record)
        attempt(directory.metrics) { try metrics?.append(record) }
        attempt(directory.events) { try events?.append(record) }
        attempt(directory.prometheus) { try prometheus.write(to: directory.prometheus) }
        log(console.line(record))
    }

    /// Writes what training can do without. A disk that is full costs records, not the run.
    private func attempt(_ path: String, _ write: () throws -> Void) {
        do {
            try write()
            failing.remove(path)
        } catch {
            guard failing.insert(path).inserted else { return }
            log("warning: \(error); training continues without this record")
        }
    }

    /// Puts a picture of a fixed prompt into the TensorBoard log.
    func reportSample(_ number: Int, png: [UInt8], width: Int, height: Int, step: Int) throws {
        try events?.appendImage("samples/prompt_\(number)", png: png, width: width, height: height, step: step)
    }

    /// Takes note of a checkpoint that is complete now and took `seconds`. The records of its steps become durable with it.
    func reportCheckpoint(seconds: Double) {
        attempt(directory.metrics) { try metrics?.synchronize() }
        prometheus.observeCheckpoint(time: Date().timeIntervalSince1970, seconds: seconds)
    }

    /// Compares what the run took with what it announced at its start.
    func reportMemory(planned: MemoryPlan) {
        // The neighbours' gradients that this rank reads are counted where they belong.
        let peak = ProcessMemory.peakBytes - ProcessMemory.sharedBytesOfOthers
        guard peak > 0 else { return }
        log(
            String(
                format: "memory of rank 0: at most %.1f MB resident, %.1f MB planned (%+.1f %%)", Double(peak) / 1e6,
                Double(planned.total) / 1e6, (Double(planned.total) / Double(peak) - 1) * 100))
    }
}
