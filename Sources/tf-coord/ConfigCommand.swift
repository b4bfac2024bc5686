import ArgumentParser
import TransfusionCheckpoint
import TransfusionConfig

struct ConfigCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "config", abstract: "Checks a configuration and prints it with every key.",
        discussion: """
            Where the data set is at hand, it says on standard error what the batches
            will hold.

            EXAMPLE
              tf-coord config configs/train/quickstart.yaml --set seed=1
            """)

    @Argument(help: "The configuration of the run, a YAML file.")
    var config: String

    @Option(name: .customLong("set"), help: "Override a key of the configuration, as in --set batch.micro_sequences=2.")
    var overrides: [String] = []

    func run() throws {
        let configuration = try RunConfiguration.loadWithInitialWeights(config, overrides: overrides)
        if configuration.hasDataset {
            // Standard output is the configuration and nothing else.
            StandardStream.error.write("\(configuration.data.path): \(try configuration.batchSummary())\n")
        } else {
            StandardStream.error.write(
                "\(configuration.data.path): is not here; what needs the data set was not checked\n")
        }
        print(configuration.resolved, terminator: "")
    }
}
