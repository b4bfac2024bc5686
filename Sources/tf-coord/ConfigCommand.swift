import ArgumentParser
import TransfusionConfig

struct ConfigCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "config", abstract: "Checks a configuration and prints it with every key.",
        discussion: """
            EXAMPLE
              tf-coord config configs/train/quickstart.yaml --set seed=1
            """)

    @Argument(help: "The configuration of the run, a YAML file.")
    var config: String

    @Option(name: .customLong("set"), help: "Override a key of the configuration, as in --set batch.micro_sequences=2.")
    var overrides: [String] = []

    func run() throws {
        print(try RunConfiguration.load(config, overrides: overrides).resolved, terminator: "")
    }
}
