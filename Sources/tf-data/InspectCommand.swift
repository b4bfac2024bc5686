import ArgumentParser
import TransfusionConfig
import TransfusionData

extension DataCommand {
    struct Inspect: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Shows what a data set holds: counts, splits, and some samples.",
            discussion: """
                Of a run's configuration it shows what the run takes from each of its data
                sets, and how often it sees them.

                EXAMPLES
                  tf-data inspect data/shapes
                  tf-data inspect data/shapes --split held_out --samples 10
                  tf-data inspect data/shapes --json
                  tf-data inspect data/shapes --config configs/train/quickstart.yaml
                  tf-data inspect configs/train/quickstart.yaml
                """)

        @Argument(help: "The data set's directory, or the configuration of a run, a YAML file.")
        var dataset: String

        @Option(help: "The split to show samples of.")
        var split = "train"

        @Option(help: "How many pairs and documents to show.")
        var samples = 5

        @Option(help: "The configuration of a run, a YAML file: also shows what its batches would hold.")
        var config: String?

        @Option(
            name: .customLong("set"), help: "Override a key of it, as in --set data.max_caption_tokens=77.")
        var overrides: [String] = []

        @Flag(help: "Print as JSON.")
        var json = false

        func validate() throws {
            if config != nil, isConfiguration {
                throw ValidationError("--config: \(dataset) is a configuration already; name one of the two")
            }
            if config == nil, !isConfiguration, !overrides.isEmpty { throw ValidationError("--set: needs --config") }
            if samples < 0 { throw ValidationError("--samples: \(samples) is negative") }
        }

        private var isConfiguration: Bool { [".yaml", ".yml"].contains(where: dataset.hasSuffix) }

        func run() throws {
            if isConfiguration {
                let configuration = try RunConfiguration.load(dataset, overrides: overrides)
                let batches = try BatchSource(configuration, data: try DataMixture(configuration.data))
                let report = try MixtureReport(batches, steps: configuration.schedule.steps)
                if json { try printJSON(report) } else { print(report) }
                return
            }
            let set = try PackedDataset(dataset)
            let batches = try config.map {
                try BatchSource(try RunConfiguration.load($0, overrides: overrides), data: DataMixture(set)).shares
            }
            let inspection = try DatasetInspection(of: set, split: split, samples: samples, batches: batches)
            if json { try printJSON(inspection) } else { print(inspection) }
        }
    }

    struct Verify: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Reads every byte of a data set and compares it with the manifest's digests.",
            discussion: """
                Prints what is wrong, one line each, and exits with 1; exits with 0 when
                every bit is as it was written.

                EXAMPLES
                  tf-data verify data/shapes
                  tf-data verify data/shapes --json
                """)

        @Argument(help: "The data set's directory.")
        var dataset: String

        @Flag(help: "Print as JSON.")
        var json = false

        private struct Report: Encodable {
            let path: String
            let good: Bool
            let problems: [String]
        }

        func run() throws {
            let progress = PhaseProgress()
            let problems = progress.during {
                PackedDataset.verify(dataset, progress: progress.update).map(\.description)
            }
            if json { try printJSON(Report(path: dataset, good: problems.isEmpty, problems: problems)) }
            guard problems.isEmpty else { throw CommandFailure(problems, .failure) }
            if !json { print("\(dataset): every file is as it was written") }
        }
    }
}
