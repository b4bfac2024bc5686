public import TransfusionConfig

/// Brings all trials of an experiment to their end, one after the other, from wherever they are.
///
/// A trial is untrained, then trained with measures missing, then finished. What it is is read from its result file, which is
/// written when the last step is done and after each measure: whatever ends this process, the next one goes on there.
public struct ExperimentRunner: Sendable {
    /// What the runner does not do itself.
    public struct Work: Sendable {
        /// Trains a trial to its end, or goes on with it, in a run directory.
        public var train: @Sendable (ExperimentPlan.Trial, RunDirectory) async throws -> RunStatus.Exit
        /// Runs a command to its end and returns what it printed; nil when it was stopped on request.
        public var call: @Sendable ([String]) async throws -> String?
        /// Whether somebody has asked to stop.
        public var isStopped: @Sendable () -> Bool
        public var log: @Sendable (String) -> Void

        public init(
            train: @escaping @Sendable (ExperimentPlan.Trial, RunDirectory) async throws -> RunStatus.Exit,
            call: @escaping @Sendable ([String]) async throws -> String?,
            isStopped: @escaping @Sendable () -> Bool, log: @escaping @Sendable (String) -> Void
        ) {
            self.train = train
            self.call = call
            self.isStopped = isStopped
            self.log = log
        }
    }

    public enum Outcome: Sendable, Equatable {
        /// Nothing is left to do.
        case finished
        /// On request; the same command goes on.
        case stopped
        /// What could not be done, a line each; the same command tries it again.
        case failed([String])
    }

    private let plan: ExperimentPlan
    private let store: ExperimentStore
    private let work: Work

    /// - Throws: `CommandFailure` when the directory holds trials of another configuration.
    public init(_ plan: ExperimentPlan, in store: ExperimentStore, _ work: Work) throws {
        self.plan = plan
        self.store = store
        self.work = work
        try store.check(plan.trials)
    }

    /// Trains and measures what is left, and writes the report after each trial.
    public func run() async throws -> Outcome {
        var failures: [String] = []
        try report()
        for (number, trial) in plan.trials.enumerated() {
            let place = "\(trial.name) (\(number + 1) of \(plan.trials.count))"
            if work.isStopped() { return .stopped }
            do {
                if try store.read(trial) == nil {
                    work.log("\(place): training")
                    if let stopped = try await train(trial, &failures) { return stopped }
                }
                guard let result = try store.read(trial) else { continue }
                let missing = result.missing(plan.experiment.measures)
                if !missing.isEmpty {
                    work.log("\(place): measuring \(missing.map(\.name).joined(separator: ", "))")
                    guard try await measure(trial, result, missing, &failures) else { return .stopped }
                }
            } catch {
                failures.append(contentsOf: CommandFailure(reporting: error).lines.map { "\(trial.name): \($0)" })
            }
            try report()
        }
        return failures.isEmpty ? .finished : .failed(failures)
    }

    /// - Returns: Not nil when everything must end here.
    private func train(_ trial: ExperimentPlan.Trial, _ failures: inout [String]) async throws -> Outcome? {
        let run = store.run(trial)
        let exit = try await work.train(trial, run)
        switch exit.code {
        case 0:
            try store.keepPicture(of: trial)
            try store.write(try TrialResult(trial, run: run), of: trial)
        case CommandFailure.Code.checkpointedAndStopped.rawValue: return .stopped
        // Whoever asks twice wants the end at once.
        case _ where work.isStopped(): return .stopped
        default: failures.append("\(trial.name): \(exit.reason)")
        }
        return nil
    }

    /// - Returns: Whether it came to its end: false when somebody asked to stop.
    private func measure(
        _ trial: ExperimentPlan.Trial, _ result: TrialResult, _ missing: [Experiment.Measure],
        _ failures: inout [String]
    ) async throws -> Bool {
        var result = result
        // Measures that are in the same answer are asked for once.
        var answers: [[[String]]: MeasureAnswer] = [:]
        for measure in missing {
            do {
                let number: Double?
                switch measure.source {
                case .record(let field): number = try MeasureAnswer.field(field, ofRun: store.run(trial))
                case .commands(let commands, let path):
                    if answers[commands] == nil {
                        guard let printed = try await call(commands, trial) else { return false }
                        answers[commands] = try MeasureAnswer(printed, of: commands.last ?? [])
                    }
                    number = try answers[commands]?.number(at: path)
                }
                result.values.removeAll { $0.measure.name == measure.name }
                result.values.append(TrialResult.Value(measure: measure, number: number))
                try store.write(result, of: trial)
            } catch {
                for line in CommandFailure(reporting: error).lines {
                    failures.append("\(trial.name): measure \(measure.name): \(line)")
                }
            }
        }
        return true
    }

    /// Runs the commands of a measure.
    /// - Returns: What the last one printed; nil when somebody asked to stop.
    private func call(_ commands: [[String]], _ trial: ExperimentPlan.Trial) async throws -> String? {
        let values = ["{run}": store.run(trial).path, "{work}": store.work(trial), "{seed}": "\(trial.seed)"]
        try store.clearWork(trial)
        var printed = ""
        for command in commands {
            if work.isStopped() { return nil }
            let words = command.map { word in values.reduce(word) { $0.replacing($1.key, with: $1.value) } }
            guard let output = try await work.call(words) else { return nil }
            printed = output
        }
        return printed
    }

    /// Writes the report of what is known so far.
    public func report() throws {
        try ExperimentReport(plan, store).write()
    }
}
