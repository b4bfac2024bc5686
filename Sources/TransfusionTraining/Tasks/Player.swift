internal import TransfusionConfig
package import TransfusionCore

/// Parameters that are trained together by a loss of their own.
package struct Player {
    let name: String
    let parameters: ParameterStore
    let optimizer: AdamW.Settings
    let schedule: LearningRateSchedule
    /// The largest norm of the gradient that is not scaled down; 0 does not clip.
    let clipNorm: Double
    /// Whether it is trained in a step, numbered from 0.
    var isTrained: @Sendable (_ step: Int) -> Bool
    /// Whether the run goes on from a checkpoint without its parameters, with the initial ones.
    var mayBeMissing = false

    package init(
        name: String, parameters: ParameterStore, optimizer: AdamW.Settings, schedule: LearningRateSchedule,
        clipNorm: Double, isTrained: @escaping @Sendable (_ step: Int) -> Bool = { _ in true }
    ) {
        self.name = name
        self.parameters = parameters
        self.optimizer = optimizer
        self.schedule = schedule
        self.clipNorm = clipNorm
        self.isTrained = isTrained
    }
}

extension Player {
    /// Numbers that a task changes itself, and that checkpoints keep: all frozen, in a store without gradients.
    init(kept parameters: ParameterStore, named name: String, mayBeMissing: Bool) {
        self.init(
            name: name, parameters: parameters, optimizer: AdamW.Settings(),
            schedule: LearningRateSchedule(peak: 0, minimum: 0, warmupSteps: 0, steps: 1), clipNorm: 0,
            isTrained: { _ in false })
        self.mayBeMissing = mayBeMissing
    }

    /// A player that is trained in each step, with the optimizer and the schedule of a run.
    /// - Parameter averageDecay: Of a running average of the parameters; nil keeps none.
    init(
        _ name: String, _ parameters: ParameterStore, _ configuration: RunConfiguration, averageDecay: Double? = nil
    ) {
        let optimizer = configuration.optimizer
        self.init(
            name: name, parameters: parameters,
            optimizer: AdamW.Settings(
                beta1: Float(optimizer.beta1), beta2: Float(optimizer.beta2), epsilon: Float(optimizer.epsilon),
                weightDecay: Float(optimizer.weightDecay), averageDecay: averageDecay.map(Float.init)),
            schedule: LearningRateSchedule(configuration.schedule),
            clipNorm: optimizer.clipNorm)
    }
}
