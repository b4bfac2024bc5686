/// Runs that are compared with each other: what all have in common, how each differs, what is measured of them, and what
/// others have published.
///
/// Read one with `Experiment.load`; docs/experiments.md describes the file.
public struct Experiment: Sendable, Equatable {
    /// Of its directory and of its runs' names.
    public var name: String
    /// Stands over the report.
    public var title: String
    /// Sentences for whoever reads the report; empty when there are none.
    public var note = ""
    /// The file of the configuration that the cells differ from.
    public var base: String
    /// What all cells have otherwise than the base, as `key=value` each.
    public var overrides: [String] = []
    /// Each cell runs once with each of them.
    public var seeds = [0]
    public var measures: [Measure] = []
    public var cells: [Cell] = []

    /// One row of the table.
    public struct Cell: Sendable, Equatable {
        public var name: String
        /// What it has otherwise than the others, as `key=value` each.
        public var overrides: [String] = []
        /// What others have published, by the names of measures or other names.
        public var published: [String: Double] = [:]
    }

    /// One number of a run.
    public struct Measure: Sendable, Equatable, Codable {
        public var name: String
        public var source: Source

        public init(name: String, source: Source) {
            self.name = name
            self.source = source
        }

        /// Where the number comes from.
        public enum Source: Sendable, Equatable, Codable {
            /// A field of the last record of metrics.jsonl that has it.
            case record(String)
            /// Commands one after the other, and the names on the way to the number in the JSON that the last one prints.
            case commands([[String]], value: [String])
        }
    }
}

extension Experiment {
    /// What stands in a command for the run directory, for a directory of the measure's own, and for the seed.
    public static let placeholders = ["{run}", "{work}", "{seed}"]
    /// The programs that commands may call.
    static let programs = ["tf-eval", "tf-sample", "tf-data"]

    static let mostCells = 256
    static let mostSeeds = 64
    static let mostMeasures = 64
    static let mostCommands = 16
    /// Leaves room for the seed in the name of a run, which has 64 characters.
    static let longestCellName = 40

    /// The names of published numbers that are no measure, sorted.
    public var publishedOnly: [String] {
        Set(cells.flatMap(\.published.keys)).subtracting(measures.map(\.name)).sorted()
    }
}
