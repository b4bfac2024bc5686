import ArgumentParser
import TransfusionCheckpoint
import TransfusionConfig
import TransfusionData

struct ConfigCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "config", abstract: "Checks a configuration and prints it with every key.",
        discussion: """
            Where the data sets are at hand, it says on standard error what the batches
            will hold, and how often the run will see each data set.

            EXAMPLE
              tf-coord config configs/train/quickstart.yaml --set seed=1
            """)

    @Argument(help: "The configuration of the run, a YAML file.")
    var config: String

    @Option(name: .customLong("set"), help: "Override a key of the configuration, as in --set batch.micro_sequences=2.")
    var overrides: [String] = []

    func run() throws {
        let configuration = try RunConfiguration.loadWithInitialWeights(config, overrides: overrides)
        // Standard output is the configuration and nothing else.
        let missing = configuration.missingDatasets
        for path in missing {
            StandardStream.error.write("\(path): is not here; what needs the data set was not checked\n")
        }
        if missing.isEmpty {
            StandardStream.error.write("\(try configuration.batchSummary())\n")
        }
        print(configuration.resolved, terminator: "")
    }
}
