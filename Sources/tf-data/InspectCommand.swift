import ArgumentParser
import TransfusionConfig
import TransfusionData

extension DataCommand {
    struct Inspect: ParsableCommand {
        static let configuration = CommandConfiguration(
            abstract: "Shows what a data set holds: counts, splits, and some samples.",
            discussion: """
                EXAMPLES
                  tf-data inspect data/shapes
                  tf-data inspect data/shapes --split held_out --samples 10
                  tf-data inspect data/shapes --json
                  tf-data inspect data/shapes --config configs/train/quickstart.yaml
                """)

        @Argument(help: "The data set's directory.")
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
            if config == nil && !overrides.isEmpty { throw ValidationError("--set: needs --config") }
            if samples < 0 { throw ValidationError("--samples: \(samples) is negative") }
        }

        func run() throws {
            let set = try PackedDataset(dataset)
            let batches = try config.map {
                try BatchSource(try RunConfiguration.load($0, overrides: overrides), dataset: set).shares
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
