internal import TransfusionCheckpoint
public import TransfusionConfig

/// The runs of an experiment, each with its whole configuration.
public struct ExperimentPlan: Sendable {
    /// A cell with one seed.
    public struct Trial: Sendable, Equatable {
        public let cell: String
        public let seed: Int
        public let configuration: RunConfiguration

        public var name: String { configuration.name }
    }

    public let experiment: Experiment
    /// What whoever started it wants otherwise for all cells.
    let overrides: [String]
    /// All cells with the first seed, then all with the next.
    public let trials: [Trial]

    /// Reads an experiment, and the configurations of all its cells.
    /// - Parameters:
    ///   - overrides: `key=value` each, for all cells; they win over the cells'.
    ///   - check: Refuses a configuration for reasons outside it, such as a data set that it does not fit.
    /// - Throws: `CommandFailure` with a line for each thing that is wrong, of all cells.
    public init(
        _ file: String, overrides: [String] = [], check: (RunConfiguration) throws -> Void = { _ in }
    ) throws {
        experiment = try Experiment.load(file)
        self.overrides = overrides
        var trials: [Trial] = []
        // A problem that several cells share is told once.
        var problems: [(line: String, cells: [String])] = []
        for seed in experiment.seeds {
            for cell in experiment.cells {
                let own = ["seed=\(seed)", "name=\(cell.name)-seed-\(seed)"]
                do {
                    let configuration = try RunConfiguration.loadWithInitialWeights(
                        experiment.base, overrides: experiment.overrides + cell.overrides + overrides + own)
                    try check(configuration)
                    trials.append(Trial(cell: cell.name, seed: seed, configuration: configuration))
                } catch {
                    for line in CommandFailure(reporting: error).lines {
                        if let known = problems.firstIndex(where: { $0.line == line }) {
                            if !problems[known].cells.contains(cell.name) { problems[known].cells.append(cell.name) }
                        } else {
                            problems.append((line, [cell.name]))
                        }
                    }
                }
            }
        }
        guard problems.isEmpty else {
            let lines = problems.map { problem in
                let cells = problem.cells.prefix(6).joined(separator: ", ") + (problem.cells.count > 6 ? " …" : "")
                return "\(file): cell\(problem.cells.count == 1 ? "" : "s") \(cells): \(problem.line)"
            }
            throw CommandFailure(lines, .wrongUse)
        }
        self.trials = trials
    }
}
