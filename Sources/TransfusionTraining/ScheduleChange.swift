internal import TransfusionCheckpoint
internal import TransfusionConfig

/// How the schedule of a run differs from the one that its checkpoint was trained with.
///
/// The new one holds from the next step on: a step's learning rate is what the new schedule says of that step.
struct ScheduleChange {
    /// A line for each key, as in `schedule.steps: 100 → 200`.
    let lines: [String]
    /// For people; nil where nothing has changed.
    let report: String?

    /// Among the scalars of a checkpoint.
    static let scalarName = "schedule"

    /// - Parameter scalar: What the checkpoint says; nothing is known of those of earlier versions.
    init(_ configuration: RunConfiguration, since scalar: JSONValue?, step: Int) {
        var before = configuration
        guard let scalar, let schedule = RunConfiguration.Schedule(scalar) else {
            (lines, report) = ([], nil)
            return
        }
        before.schedule = schedule
        lines = configuration.differences(from: before).map(\.description)
        func rate(_ configuration: RunConfiguration, _ step: Int) -> Double {
            LearningRateSchedule(configuration.schedule).learningRate(step)
        }
        report =
            lines.isEmpty
            ? nil
            : "changed from step \(step + 1) on: \(lines.joined(separator: "; ")); the learning rate of that step is "
                + "\(rate(configuration, step)) instead of \(rate(before, step))"
    }
}

extension RunConfiguration.Schedule {
    private static var numbers: [(name: String, location: WritableKeyPath<Self, Double>)] {
        [("learning_rate", \.learningRate), ("minimum_learning_rate", \.minimumLearningRate)]
    }
    private static var counts: [(name: String, location: WritableKeyPath<Self, Int>)] {
        [("steps", \.steps), ("warmup_steps", \.warmupSteps)]
    }

    /// As a checkpoint stores it.
    var json: JSONValue {
        .object(
            Dictionary(
                uniqueKeysWithValues: Self.numbers.map { ($0.name, .number(self[keyPath: $0.location])) }
                    + Self.counts.map { ($0.name, .number(Double(self[keyPath: $0.location]))) }))
    }

    /// nil when the checkpoint holds none that this version understands.
    init?(_ json: JSONValue) {
        self.init()
        for (name, location) in Self.numbers {
            guard let value = json[name]?.number else { return nil }
            self[keyPath: location] = value
        }
        for (name, location) in Self.counts {
            guard let value = json[name]?.integer else { return nil }
            self[keyPath: location] = value
        }
    }
}

extension LearningRateSchedule {
    init(_ schedule: RunConfiguration.Schedule) {
        self.init(
            peak: schedule.learningRate, minimum: schedule.minimumLearningRate, warmupSteps: schedule.warmupSteps,
            steps: schedule.steps)
    }
}
