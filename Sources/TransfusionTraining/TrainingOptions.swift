/// How a call of training ended.
public enum TrainingOutcome: Sendable, Equatable {
    /// All steps that were asked for are done and saved.
    case finished
    /// A signal asked for a stop; everything is saved.
    case stoppedOnRequest
}

/// What the command line decides, rather than the configuration.
public struct TrainingOptions: Sendable {
    public enum Resume: Sendable, Equatable {
        /// From the newest checkpoint of the run that verifies; from the beginning if there is none.
        case automatic
        /// From the beginning; refused when the run has checkpoints.
        case never
        /// From this step directory of any run with the same model.
        case from(String)
    }

    public var resume = Resume.automatic
    /// Stop after this step, with a checkpoint; the schedule stays that of the configuration.
    public var lastStep: Int?

    public init() {}
}
