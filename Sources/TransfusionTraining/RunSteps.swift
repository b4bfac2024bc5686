internal import TransfusionCheckpoint
package import TransfusionConfig
package import TransfusionParallel
package import TransfusionTelemetry

/// The steps of a run as its configuration and its data make them, without the run's directory: what a measurement needs.
package struct RunSteps {
    package let resources: TrainingResources
    package let state: TrainingState
    /// Does a step; all ranks call it alike.
    package let train: () throws -> StepSummary

    /// All ranks call it.
    /// - Throws: `SharedFailure` with one line for each problem of the configuration.
    package init(
        _ configuration: RunConfiguration, group: any Communicator, ranksOnHost: Int, timer: PhaseTimer
    ) throws {
        switch configuration.task {
        case .transfusion:
            try self.init(
                configuration,
                TrainingSetup<TransfusionTask>(configuration, group: group, ranksOnHost: ranksOnHost), timer)
        case .autoencoder:
            try self.init(
                configuration,
                TrainingSetup<AutoencoderTask>(configuration, group: group, ranksOnHost: ranksOnHost), timer)
        }
    }

    private init<Task>(_ configuration: RunConfiguration, _ setup: TrainingSetup<Task>, _ timer: PhaseTimer) throws {
        resources = setup.resources
        state = setup.state
        train = StepTrainer(setup.task, resources, state, batch: .init(configuration.batch), timer: timer).train
        // How long a step takes does not depend on the weights.
        _ = try setup.task.begin(from: nil, options: CheckpointOptions())
    }
}
