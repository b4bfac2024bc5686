internal import TransfusionCheckpoint
internal import TransfusionConfig
internal import TransfusionCore
internal import TransfusionModels
internal import TransfusionParallel
internal import TransfusionSupport
internal import TransfusionTelemetry

/// Trains a task: the steps of a run in the order in which they happen.
///
/// Every rank makes one and calls `run()`. What the ranks do differs only in which micro-batches they compute, in which
/// part of the state they update and save, and in that rank 0 speaks.
final class TrainingLoop<Task: RunTask> {
    let configuration: RunConfiguration
    let directory: RunDirectory
    let claim: RunClaim
    let options: TrainingOptions
    let setup: TrainingSetup<Task>
    let steps: StepTrainer<Task>
    let timer: PhaseTimer
    let heartbeats: HeartbeatWriter
    let checkpoints: CheckpointKeeper
    let reporter: StepReporter
    /// The step at which this process began to train.
    private var firstStep = 0

    var group: any Communicator { setup.resources.group }
    var task: Task { setup.task }
    var state: TrainingState { setup.state }
    var lastStep: Int { min(options.lastStep ?? .max, configuration.schedule.steps) }

    /// - Parameters:
    ///   - heartbeats: Which beat already.
    ///   - log: Called on rank 0 with each line that a person should see.
    init(
        _ configuration: RunConfiguration, claim: RunClaim, _ setup: TrainingSetup<Task>, timer: PhaseTimer,
        heartbeats: HeartbeatWriter, options: TrainingOptions, log: @escaping (String) -> Void
    ) throws {
        self.configuration = configuration
        self.claim = claim
        self.setup = setup
        self.options = options
        self.timer = timer
        self.heartbeats = heartbeats
        directory = claim.directory
        steps = StepTrainer(
            setup.task, setup.resources, setup.state, batch: .init(configuration.batch), timer: timer)
        let reporter = StepReporter(
            configuration, directory: directory, rank: setup.resources.group.rank, timer: timer, print: log)
        self.reporter = reporter
        checkpoints = CheckpointKeeper(
            configuration.checkpoint, configuration.schedule, directory: directory, setup.resources, log: reporter.log,
            onWait: heartbeats.waits
        ) { event in
            switch event {
            case .saved(let report):
                reporter.reportCheckpoint(seconds: report.writeSeconds)
                heartbeats.saveSucceeded()
            case .failed(let step, let error): heartbeats.saveFailed(step: step, reason: error.description)
            case .skipped: break
            }
        }
        try checkpoints.check(options.resume, setup.task)
        try enterDirectory()
        setup.report.forEach(reporter.log)
    }

    func run() throws -> TrainingOutcome {
        do {
            let outcome = try trainToTheEnd()
            leave(nil)
            return outcome
        } catch {
            leave(CommandFailure(reporting: (error as? SharedFailure)?.failure ?? error))
            throw error
        }
    }

    private func leave(_ failure: CommandFailure?) {
        setup.memory.map(reporter.reportMemory)
        heartbeats.finish(failure)
        claim.release()
    }

    private func trainToTheEnd() throws -> TrainingOutcome {
        try resume()
        firstStep = state.step
        if state.step >= lastStep {
            let bound = lastStep < configuration.schedule.steps ? "the last step" : "schedule.steps"
            reporter.log("nothing to do: \(state.step) steps are done, and \(bound) is \(lastStep)")
        }
        while state.step < lastStep {
            let step = try trainOneStep()
            let isInPlace = group.rank != 0 || claim.isInPlace
            let validation = try timer.measure(.validation) { try validateIfDue() }
            try reporter.report(step, state, setup.utilization, validation: validation, keeping: isInPlace)
            try timer.measure(.sampling) { try drawSamplesIfDue(keeping: isInPlace) }
            let isAskedToStop = try group.any(
                StopSignal.isRequested || !isInPlace || !claim.isHeld, site: "stop request")
            let isLast = state.step == lastStep || isAskedToStop
            if try checkpoints.isDue(after: state.step) || isLast {
                try leaveLostDirectory()
                try timer.measure(.checkpoint) { try checkpoints.save(state, task, isLast: isLast) }
            }
            try checkpoints.poll()
            if isAskedToStop && state.step < lastStep { return .stoppedOnRequest }
        }
        return .finished
    }

    /// One step of all ranks, from its batch to the update of the weights.
    func trainOneStep() throws -> StepSummary {
        timer.begin(step: state.step)
        // The coordinator times how long a restart takes.
        if state.step <= firstStep + 1 { heartbeats.beat() }
        let step = try steps.train()
        (step.counts.warnings + task.warnings(after: step)).forEach { reporter.log("warning: \($0)") }
        return step
    }

    /// The losses on data that is not trained on, when the configuration wants them after this step.
    private func validateIfDue() throws -> [NamedSum]? {
        guard let every = configuration.evaluation.everySteps else { return nil }
        let isDue = state.step % every == 0 || state.step == configuration.schedule.steps
        return isDue ? try setup.validation?.measure() : nil
    }

    /// Continues from a checkpoint, or begins with initial weights.
    private func resume() throws {
        let checkpoint = try checkpoints.find(options.resume)
        var lastRecord = 0
        if let checkpoint {
            try checkpoints.load(checkpoint, into: state, task)
            reporter.log("resuming from step \(state.step) (\(checkpoint.path))")
            // Where there is nothing to do, nothing is changed.
            guard state.step < lastStep else { return }
            lastRecord = try checkpoints.leaveOtherBranches(of: checkpoint)
            let change = ScheduleChange(
                configuration, since: checkpoint.metadata.scalars[ScheduleChange.scalarName], step: state.step)
            state.logged.changes += change.lines
            change.report.map(reporter.log)
        } else if let report = try checkpoints.begin(task) {
            reporter.log(report)
        }
        try checkpoints.prepare(for: state)
        try reporter.begin(after: lastRecord)
    }
}
